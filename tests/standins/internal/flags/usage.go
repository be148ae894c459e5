package flags

import (
	"fmt"
	"strings"
)

// Usage lists every flag, as --help does.
func (t *Table) Usage(program string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "Usage: %s [options]\n\n", program)
	for _, name := range sortedKeys(t.Specs) {
		spec := t.Specs[name]
		left := "  --" + name + "=VALUE"
		if spec.Bool {
			left = "  --[no-]" + name
		}
		if spec.Default != "" {
			left = fmt.Sprintf("%-80s (default: %s)", left, spec.Default)
		}
		text.WriteString(left + "\n")
	}
	return text.String()
}
