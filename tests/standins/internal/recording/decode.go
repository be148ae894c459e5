package recording

import (
	"encoding/json"
	"strings"
)

func decode(document string, into any) error {
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.UseNumber()
	return decoder.Decode(into)
}
