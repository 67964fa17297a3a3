package report

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// fill sets every field that v reaches, so that no JSON name escapes the test below.
func fill(v reflect.Value, seed *int) {
	*seed++
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), seed)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), seed)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), seed)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			key := reflect.New(v.Type().Key()).Elem()
			value := reflect.New(v.Type().Elem()).Elem()
			fill(key, seed)
			fill(value, seed)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		v.SetString(string(rune('a'+*seed%26)) + `<&>"é\` + string(rune('a'+*seed/26%26)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(int64(*seed))
	case reflect.Uint64:
		v.SetUint(1<<63 + uint64(*seed)) // more than a float64 keeps
	default:
		panic("a field of kind " + v.Kind().String() + " needs a value here")
	}
}

func TestCanonicalJSONHasSortedKeys(t *testing.T) {
	seed := 0
	var m hardware.Machine
	fill(reflect.ValueOf(&m).Elem(), &seed)
	inv := Inventory{Cluster: "edge-1", V: Version, Nodes: []hardware.Machine{m}}

	got, err := inv.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	dec := json.NewDecoder(bytes.NewReader(got))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil { // a map's keys are sorted
		t.Fatal(err)
	}
	if !bytes.Equal(got, bytes.TrimSpace(want.Bytes())) {
		t.Errorf("Canonical() =\n%s\nwant keys in order:\n%s", got, want.Bytes())
	}
	if bytes.Contains(got, []byte("observed")) || bytes.Contains(got, []byte(`\u003c`)) {
		t.Errorf("Canonical() = %s, want no times and no escaped <", got)
	}
}

func TestCanonicalJSONDoesNotDependOnOrder(t *testing.T) {
	a := synthetic("edge", 5, 7)
	b := synthetic("edge", 5, 7)
	b.Nodes[0], b.Nodes[4] = b.Nodes[4], b.Nodes[0]
	e := b.Nodes[2].Elements
	e[1], e[9] = e[9], e[1]
	before := e[1].Slot

	first, _ := a.Canonical()
	second, _ := b.Canonical()
	if !bytes.Equal(first, second) {
		t.Error("the same machines in another order have other bytes")
	}
	if b.Nodes[0].Name != a.Nodes[4].Name || e[1].Slot != before {
		t.Error("Canonical() changed the order of the caller's lists")
	}
}

func TestNoNodesIsAListToo(t *testing.T) {
	got, err := Inventory{Cluster: "edge-1", V: 1}.Canonical()
	if want := `{"cluster":"edge-1","nodes":[],"v":1}`; err != nil || string(got) != want {
		t.Errorf("Canonical() = %s, %v, want %s", got, err, want)
	}
}
