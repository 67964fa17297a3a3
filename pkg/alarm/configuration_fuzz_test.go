package alarm

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/o2ims/o2ims/pkg/fault"
)

// patched is a merge patch as RFC 7396 has it in pseudocode.
func patched(target, patch any) any {
	members, is := patch.(map[string]any)
	if !is {
		return patch
	}
	object, is := target.(map[string]any)
	if !is {
		object = map[string]any{}
	}
	for name, value := range members {
		if value == nil {
			delete(object, name)
		} else {
			object[name] = patched(object[name], value)
		}
	}
	return object
}

func exact(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"c":[1,2],"d":null}}`), []byte(`{"a":null,"b":{"c":3,"e":{"f":null}},"g":{"h":null}}`))
	f.Add([]byte(`{}`), []byte(`{"a":{"b":{}}}`))
	f.Add([]byte(`{"a":"x"}`), []byte(`{"a":{"b":12345678901234567890}}`))
	f.Add([]byte(`{"a":1}`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, object, patch []byte) {
		var before map[string]json.RawMessage
		target, err := exact(object)
		if err != nil || json.Unmarshal(object, &before) != nil || before == nil || !json.Valid(patch) {
			return
		}
		got, err := merge(before, patch)
		wanted, wantErr := exact(patch)
		if _, is := wanted.(map[string]any); wantErr != nil || !is {
			if wanted != nil && !errors.Is(err, fault.Invalid) {
				t.Fatalf("merge of %s: %v, want it refused", patch, err)
			}
			return
		}
		if err != nil {
			t.Fatalf("merge of %s: %v", patch, err)
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		result, err := exact(text)
		if err != nil {
			t.Fatal(err)
		}
		if want := patched(target, wanted); !reflect.DeepEqual(result, want) {
			t.Errorf("%s patched with %s = %s, want %v", object, patch, text, want)
		}
	})
}

func FuzzEventFilter(f *testing.F) {
	for _, seed := range []string{`"NEW"`, `["CLEAR","NEW"]`, `null`, `[]`, `{"a":1}`, `["NEW","NEW"]`, `[null]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		words, err := eventFilter(text)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("eventFilter(%s) = %v, want invalid", text, err)
			}
			return
		}
		if words == nil {
			return
		}
		again, err := json.Marshal(words)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := eventFilter(again); err != nil || !reflect.DeepEqual(got, words) {
			t.Errorf("eventFilter(%s) = %v, and of that %v, %v", text, words, got, err)
		}
	})
}
