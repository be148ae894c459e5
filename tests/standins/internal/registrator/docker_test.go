package registrator

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

func TestEventsOfEveryEngineAreRead(t *testing.T) {
	const former = `{"status":"start","id":"a","from":"x"}`
	const both = `{"status":"start","id":"b","Type":"container","Action":"start","Actor":{"ID":"b"}}`
	const newest = `{"Type":"container","Action":"die","Actor":{"ID":"c"}}`
	const other = `{"Type":"network","Action":"connect","Actor":{"ID":"d"}}`
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range []string{former, both, newest, other} {
			w.Write([]byte(line + "\n"))
		}
	}))
	defer engine.Close()
	client := DockerClient{base: engine.URL, http: engine.Client()}
	events, err := client.Events()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for event := range events {
		got = append(got, event.Status+" "+event.ID)
	}
	if want := []string{"start a", "start b", "die c"}; !slices.Equal(got, want) {
		t.Errorf("%v in place of %v", got, want)
	}
}
