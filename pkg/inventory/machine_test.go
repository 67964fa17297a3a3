package inventory

import (
	"fmt"
	"maps"
	"reflect"
	"testing"

	"github.com/o2ims/o2ims/pkg/hardware"
)

// TestFoldingLosesNothing sets each attribute that an element can have, one at a time: the
// element must come out as it went in, and share nothing that differs.
func TestFoldingLosesNothing(t *testing.T) {
	f := newFolder()
	plain := hardware.Element{Class: hardware.Port, Slot: "s"}
	f.fold([]hardware.Machine{{Elements: []hardware.Element{plain}}})
	var set func(path string, v reflect.Value, e func() hardware.Element)
	tried := 0
	check := func(path string, e hardware.Element) {
		tried++
		got := f.fold([]hardware.Machine{{Elements: []hardware.Element{e, plain}}})[0]
		if want := []hardware.Element{e, plain}; !reflect.DeepEqual(got.elements(), want) {
			t.Errorf("%s: elements are %+v, want %+v", path, got.elements(), want)
		}
	}
	set = func(path string, v reflect.Value, e func() hardware.Element) {
		switch v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Int:
			v.SetInt(7)
		case reflect.Uint64:
			v.SetUint(7)
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Slice:
			v.Set(reflect.ValueOf([]string{"x", path}))
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			check(path, e())
			set(path, v.Elem(), e)
			return
		case reflect.Struct:
			for i := range v.NumField() {
				old := reflect.New(v.Field(i).Type()).Elem()
				old.Set(v.Field(i))
				set(path+"."+v.Type().Field(i).Name, v.Field(i), e)
				v.Field(i).Set(old)
			}
			return
		default:
			t.Fatalf("%s is a %s: teach this test, and shapeKey, about it", path, v.Kind())
		}
		check(path, e())
	}
	e := plain
	// Each call of e hands out copies, since folding keeps what elements point to.
	set("element", reflect.ValueOf(&e).Elem(), func() hardware.Element { return deepCopy(e) })
	if tried < 40 {
		t.Errorf("only %d attributes were tried", tried)
	}
}

func deepCopy(e hardware.Element) hardware.Element {
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			fresh := reflect.New(f.Type().Elem())
			fresh.Elem().Set(f.Elem())
			f.Set(fresh)
		}
	}
	return e
}

func TestLikeElementsAreKeptOnce(t *testing.T) {
	f := newFolder()
	a, b := f.fold([]hardware.Machine{machine("a", "uuid:a")})[0], f.fold([]hardware.Machine{machine("b", "uuid:b")})[0]
	for i := range a.parts {
		if a.parts[i].shape != b.parts[i].shape {
			t.Errorf("%+v is kept twice", a.Element(i))
		}
	}
	if a.Server.OS != b.Server.OS || a.Server.BIOS != b.Server.BIOS {
		t.Error("equal systems are kept twice")
	}
	if i, found := a.find(hardware.Memory, "DIMM A1"); !found || a.Element(i).Vendor != "Micron" {
		t.Error("the memory module is not found")
	}
	if _, found := a.find(hardware.Port, "DIMM A1"); found {
		t.Error("a port is found in a memory slot")
	}
}

func TestFoldedMaps(t *testing.T) {
	f := newFolder()
	for _, m := range []map[string]string{nil, {"cpu": "1"}, {"cpu": "2", "memory": "3Gi"}, {"cpu": "2", "memory": "4Gi"}, {"cpu\x00memory": "", "": "5"}} {
		if got := f.mapping(m).mapping(); !maps.Equal(got, m) {
			t.Errorf("%v comes out as %v", m, got)
		}
	}
	if a, b := f.mapping(map[string]string{"cpu": "1", "pods": "2"}), f.mapping(map[string]string{"pods": "3", "cpu": "4"}); &a.keys[0] != &b.keys[0] {
		t.Error("equal keys are kept twice")
	}
}

func TestTheFolderIsBounded(t *testing.T) {
	f := newFolder()
	for i := range 3 * maxShapes {
		f.part(&hardware.Element{Model: fmt.Sprint(i)})
	}
	if len(f.shapes) > maxShapes {
		t.Errorf("%d shapes are kept", len(f.shapes))
	}
}
