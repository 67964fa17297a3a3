package report

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/fault"
)

func isKnownFault(err error) bool {
	return errors.Is(err, fault.Invalid) || errors.Is(err, fault.NotFound) || errors.Is(err, fault.Unavailable)
}

// FuzzDecode feeds the decoder heads and parts, and bodies that are framed as they should
// be, so that it gets past the digest as well.
func FuzzDecode(f *testing.F) {
	inv := explained() // small: the fuzzer minimises what it finds
	body, err := inv.Canonical()
	if err != nil {
		f.Fatal(err)
	}
	good := written(f, inv)
	head, part := good[len(good)-2], good[len(good)-1]
	f.Add(head.Message, part.Message, body, uint16(1), uint16(4))
	f.Add(goodHead, "AAAA", []byte(`{"cluster":"edge-1","nodes":[],"v":1}`), uint16(0), uint16(0))
	f.Add("", "", []byte(`{"cluster":"edge-1","nodes":[{"key":"k","name":"n","server":{},"elements":[{"class":"port","slot":"1"}]}],"v":1}`), uint16(1), uint16(2))
	f.Add("v=2", "\n", []byte(`[[[[`), uint16(0), uint16(0))

	// The encoder of the product would spend the fuzzer's time on its tables.
	fast, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	framed := func(body []byte, nodes, resources int) []metav1.Condition {
		dr := draft{
			kind: KindInventory, fields: Head{Nodes: nodes, Resources: resources, Detail: DetailFull}.fields(),
			frame: packed(fast.EncodeAll(body, nil), len(body), digestOf(body)), status: metav1.ConditionTrue, reason: HeadReported,
		}
		return dr.compose(family{kind: KindInventory}, Stamp{epochA, monday}, nil).Entries
	}
	d := mustDecoder(f)
	f.Fuzz(func(t *testing.T, head, part string, body []byte, nodes, resources uint16) {
		raw := []metav1.Condition{
			{Type: KindInventory.HeadType(), Status: "True", Reason: HeadReported, Message: head},
			{Type: KindInventory.PartType(0), Status: "True", Reason: "Data", Message: part},
		}
		for _, conditions := range [][]metav1.Condition{raw, framed(body, int(nodes), int(resources))} {
			got, err := d.Decode("edge-1", conditions)
			if err != nil {
				if !isKnownFault(err) {
					t.Fatalf("error %v is of no kind", err)
				}
				continue
			}
			canonical, err := got.Inventory.Canonical()
			if err != nil {
				t.Fatal(err)
			}
			again, err := d.Decode("edge-1", framed(canonical, got.Head.Nodes, got.Head.Resources))
			if err != nil || !reflect.DeepEqual(again.Inventory, again.Inventory.ordered()) {
				t.Fatalf("encoded and decoded again: %v", err)
			}
		}
	})
}

func FuzzReadYAML(f *testing.F) {
	f.Add(mcaYAML)
	f.Add("kind: List\nitems:\n" + indent(mcaYAML))
	f.Add(`{"kind":"ManagedClusterAddOnList","items":[{"kind":"ManagedClusterAddOn","metadata":{"name":"o2ims"}}]}`)
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		carriers, err := ReadYAML(strings.NewReader(text))
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("error %v is not invalid", err)
			}
			return
		}
		if len(carriers) == 0 {
			t.Fatal("neither an add-on nor an error")
		}
		for _, c := range carriers {
			_ = find(KindInventory, c.Conditions)
		}
	})
}
