package recording

import "testing"

const sample = `=== 01_POST_app
>>> POST http://127.0.0.1:8080/v2/apps
>>> Content-Type: application/json
>>> body: {"id":"/a"}
>>> sent at 09:19:53.760

HTTP/1.1 201 Created
Location: http://127.0.0.1:8080/a

{"id":"/a","n":1,"f":1.0,"l":[{"x":true}]}
<<< 201 after 0.6s

=== health-BREW


=== health
HTTP/1.1 200 OK
Content-Length: 0

`

func TestBlocksAreRead(t *testing.T) {
	blocks, err := Parse(sample)
	if err != nil || len(blocks) != 3 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	first := blocks[0]
	if first.Method != "POST" || first.URL != "http://127.0.0.1:8080/v2/apps" || first.Body != `{"id":"/a"}` || first.Status != 201 ||
		first.Request.Get("Content-Type") != "application/json" || first.Header.Get("Location") != "http://127.0.0.1:8080/a" {
		t.Errorf("first block read as %+v", first)
	}
	if blocks[1].Status != 0 || blocks[2].Status != 200 || blocks[2].Answer != "" {
		t.Errorf("others read as %+v %+v", blocks[1], blocks[2])
	}
	if _, found := ByName(blocks, "health"); !found {
		t.Error("health not found")
	}
}

func TestShapesTellIntegersFromFloatsAndMissingFields(t *testing.T) {
	want, _ := Shape(`{"a":1.0,"b":[{"x":"s"}],"c":1,"e":[]}`)
	got, _ := Shape(`{"a":1,"b":[],"d":null,"e":[{"y":1}]}`)
	differences := Differences(want, got, nil)
	expected := []string{".a: is int, recorded as float", ".c: missing (recorded as int)", ".d: not in the recording (null)"}
	if len(differences) != len(expected) {
		t.Fatalf("got %q", differences)
	}
	for i := range expected {
		if differences[i] != expected[i] {
			t.Errorf("got %q, want %q", differences[i], expected[i])
		}
	}
}
