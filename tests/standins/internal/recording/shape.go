package recording

import (
	"encoding/json"
	"fmt"
	"sort"
)

// Shape maps every path of a JSON document to its type; list elements share the path `list[]`. A number that was
// written with a fraction or exponent is "float", one without "int": strict readers tell them apart.
func Shape(document string) (map[string]string, error) {
	var value any
	if err := decode(document, &value); err != nil {
		return nil, err
	}
	shape := map[string]string{}
	walk("", value, shape)
	return shape, nil
}

// Differences compares two shapes. Paths of which `ignore` says so are left out; lists that are empty on one side
// say nothing of their elements.
func Differences(want, got map[string]string, ignore func(path string) bool) []string {
	var out []string
	for path, kind := range want {
		other, there := got[path]
		switch {
		case ignore != nil && ignore(path):
		case !there && !underEmptyList(path, got):
			out = append(out, fmt.Sprintf("%s: missing (recorded as %s)", path, kind))
		case there && kind != other:
			out = append(out, fmt.Sprintf("%s: is %s, recorded as %s", path, other, kind))
		}
	}
	for path, kind := range got {
		if _, there := want[path]; !there && (ignore == nil || !ignore(path)) && !underEmptyList(path, want) {
			out = append(out, fmt.Sprintf("%s: not in the recording (%s)", path, kind))
		}
	}
	sort.Strings(out)
	return out
}

func underEmptyList(path string, shape map[string]string) bool {
	for i := 0; i+1 < len(path); i++ {
		if path[i] == '[' && path[i+1] == ']' && shape[path[:i]] == "list" {
			if _, elements := shape[path[:i+2]]; !elements {
				return true
			}
		}
	}
	return false
}

func walk(path string, value any, shape map[string]string) {
	switch typed := value.(type) {
	case map[string]any:
		shape[path] = "object"
		for key, inner := range typed {
			walk(path+"."+key, inner, shape)
		}
	case []any:
		shape[path] = "list"
		for _, inner := range typed {
			walk(path+"[]", inner, shape)
		}
	case string:
		shape[path] = "string"
	case bool:
		shape[path] = "bool"
	case json.Number:
		shape[path] = numberKind(typed.String())
	default:
		shape[path] = "null"
	}
}

func numberKind(text string) string {
	for _, char := range text {
		if char == '.' || char == 'e' || char == 'E' {
			return "float"
		}
	}
	return "int"
}
