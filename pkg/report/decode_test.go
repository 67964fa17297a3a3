package report

import (
	"errors"
	"fmt"
	"hash/maphash"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/hardware"
)

// written is a report as it stands in the status of an add-on.
func written(tb testing.TB, inv Inventory) []metav1.Condition {
	tb.Helper()
	enc := mustEncoder(tb, MaxParts)
	return append(others(), enc.Compose(nil, Stamp{epochA, monday}, mustEncode(tb, enc, inv)).Entries...)
}

// forged is a report whose body is any text, framed as it should be.
func forged(tb testing.TB, body []byte, nodes, resources int) []metav1.Condition {
	tb.Helper()
	d := draft{
		kind: KindInventory, fields: Head{Nodes: nodes, Resources: resources, Detail: DetailFull}.fields(),
		frame: mustFrame(tb, body), status: metav1.ConditionTrue, reason: HeadReported,
	}
	return d.compose(family{kind: KindInventory}, Stamp{epochA, monday}, nil).Entries
}

func TestDecodeGivesWhatWasEncoded(t *testing.T) {
	for _, nodes := range []int{0, 1, 3, 100} {
		want := synthetic("edge-1", nodes, 1).ordered()
		conditions := written(t, want)
		slices.Reverse(conditions)
		got, err := mustDecoder(t).Decode("edge-1", conditions)
		if err != nil {
			t.Fatalf("%d nodes: %v", nodes, err)
		}
		if !reflect.DeepEqual(got.Inventory, want) {
			t.Errorf("%d nodes came back otherwise", nodes)
		}
		if got.Reason != HeadReported || got.Head.Nodes != nodes || got.Head.Epoch != epochA || !got.Head.Complete() {
			t.Errorf("%d nodes: head %+v, reason %s", nodes, got.Head, got.Reason)
		}
	}
}

func TestDecodeKeepsEveryField(t *testing.T) {
	seed := 0
	var m hardware.Machine
	fill(reflect.ValueOf(&m).Elem(), &seed)
	want := Inventory{Cluster: "edge-1", V: Version, Nodes: []hardware.Machine{m}}.ordered()
	got, err := mustDecoder(t).Decode("edge-1", written(t, want))
	if err != nil || !reflect.DeepEqual(got.Inventory, want) {
		t.Errorf("got %+v, %v\nwant %+v", got.Inventory, err, want)
	}
}

func TestDecodeWithoutAReport(t *testing.T) {
	if _, err := mustDecoder(t).Decode("edge-1", others()); !errors.Is(err, fault.NotFound) {
		t.Errorf("error %v, want not found", err)
	}
}

func TestDecodeOfAnAgentWithNothingToSend(t *testing.T) {
	skipUnderRace(t)
	enc := mustEncoder(t, 1)
	tooLarge := enc.Compose(nil, Stamp{epochA, monday}, mustEncode(t, enc, synthetic("edge-1", 600, 3))).Entries
	failed := enc.ComposeCollectFailed(nil, Stamp{epochA, monday}).Entries
	for _, tc := range []struct {
		conditions []metav1.Condition
		want       string
	}{{tooLarge, ReasonTooLarge}, {failed, ReasonCollectFailed}} {
		_, err := mustDecoder(t).Decode("edge-1", tc.conditions)
		if !errors.Is(err, fault.Unavailable) || ReasonOf(err) != tc.want {
			t.Errorf("error %v with reason %s, want unavailable, %s", err, ReasonOf(err), tc.want)
		}
	}
}

func TestDecodeAfterCollectFailed(t *testing.T) {
	enc := mustEncoder(t, 16)
	first := enc.Compose(nil, Stamp{epochA, monday}, mustEncode(t, enc, synthetic("edge-1", 3, 1)))
	failed := enc.ComposeCollectFailed(first.Entries, Stamp{epochA, monday.Add(time.Hour)})
	got, err := mustDecoder(t).Decode("edge-1", failed.Entries)
	if err != nil || got.Reason != HeadCollectFailed || len(got.Inventory.Nodes) != 3 {
		t.Errorf("%d nodes, reason %s, %v, want the last body", len(got.Inventory.Nodes), got.Reason, err)
	}
}

// An apply leaves what others wrote. Their slips must neither silence a cluster nor make
// its agent write again and again.
func TestConditionsThatLookLikePartsArePassedOver(t *testing.T) {
	enc := mustEncoder(t, 16)
	encoded := mustEncode(t, enc, synthetic("edge-1", 60, 1))
	first := enc.Compose(nil, Stamp{epochA, monday}, encoded)
	for _, name := range []string{fmt.Sprint(len(first.Entries) - 1), "1000000", "00", "x", "-1"} {
		stray := metav1.Condition{Type: KindInventory.HeadType() + "." + name, Status: "False", Reason: "Stray", Message: "AAAA"}
		current := append(slices.Clone(first.Entries), stray)
		if got, err := mustDecoder(t).Decode("edge-1", current); err != nil || len(got.Inventory.Nodes) != 60 {
			t.Errorf("with condition %s: %d nodes, %v", stray.Type, len(got.Inventory.Nodes), err)
		}
		if update := enc.Compose(current, Stamp{epochA, monday}, encoded); update.Changed {
			t.Errorf("with condition %s: the report is written again", stray.Type)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	edit := func(nodes int, f func(inv *Inventory)) []metav1.Condition {
		inv := synthetic("edge-1", nodes, 1)
		f(&inv)
		return written(t, inv)
	}
	damage := func(f func(c []metav1.Condition) []metav1.Condition) []metav1.Condition {
		return f(written(t, synthetic("edge-1", 60, 1))) // several parts
	}
	replaceHead := func(old, new string) func(c []metav1.Condition) []metav1.Condition {
		return func(c []metav1.Condition) []metav1.Condition {
			for i := range c {
				if c[i].Type == KindInventory.HeadType() {
					if !strings.Contains(c[i].Message, old) {
						t.Fatalf("no %q in %q", old, c[i].Message)
					}
					c[i].Message = strings.Replace(c[i].Message, old, new, 1)
				}
			}
			return c
		}
	}
	part := func(name string) metav1.Condition {
		return metav1.Condition{Type: KindInventory.HeadType() + "." + name, Status: "True", Reason: "Data", Message: "AAAA"}
	}
	count := len(written(t, synthetic("edge-1", 60, 1))) - len(others()) - 1

	for _, tc := range []struct {
		name, reason, text string
		conditions         []metav1.Condition
	}{
		{"parts without a head", ReasonMalformed, "Inventory", []metav1.Condition{part("0")}},
		{"a head that is no head", ReasonMalformed, "key=value", damage(replaceHead("v=1 ", "hello "))},
		{"a future version", ReasonFutureVersion, "version 2", damage(replaceHead("v=1 ", "v=2 "))},
		{"a missing part", ReasonMalformed, "missing", damage(func(c []metav1.Condition) []metav1.Condition {
			return slices.DeleteFunc(c, func(c metav1.Condition) bool { return c.Type == KindInventory.PartType(0) })
		})},
		{"a part twice", ReasonMalformed, "twice", damage(func(c []metav1.Condition) []metav1.Condition { return append(c, part("0")) })},
		{"a head twice", ReasonMalformed, "twice", damage(func(c []metav1.Condition) []metav1.Condition { return append(c, c[len(others())]) })},
		{"two billion parts", ReasonMalformed, "missing", damage(replaceHead(fmt.Sprintf("parts=%d", count), "parts=2147483647"))},
		{"no parts for no reason", ReasonMalformed, "no parts", damage(func(c []metav1.Condition) []metav1.Condition {
			return replaceHead(fmt.Sprintf("parts=%d", count), "parts=0")(c[:len(others())+1])
		})},
		{"25 parts", ReasonTooLarge, "more than 24", damage(func(c []metav1.Condition) []metav1.Condition {
			for i := count; i < MaxParts+1; i++ {
				c = append(c, part(fmt.Sprint(i)))
			}
			return replaceHead(fmt.Sprintf("parts=%d", count), fmt.Sprintf("parts=%d", MaxParts+1))(c)
		})},
		{"a wrong length", ReasonCorrupt, "bytes", damage(replaceHead(" raw=", " raw=1"))},
		{"a length beyond the limit", ReasonTooLarge, "bytes", damage(replaceHead(" raw=", " raw=99"))},
		{"a wrong hash", ReasonCorrupt, "sha256", damage(replaceHead("sha256="+headIn(t, damage(replaceHead("v", "v"))).SHA256, "sha256="+strings.Repeat("0", 64)))},
		{"a wrong number of nodes", ReasonCorrupt, "nodes", damage(replaceHead("nodes=60", "nodes=61"))},
		{"a wrong number of resources", ReasonCorrupt, "resources", damage(replaceHead("resources=2100", "resources=2101"))},
		{"another cluster", ReasonOtherCluster, "edge-2", edit(3, func(inv *Inventory) { inv.Cluster = "edge-2" })},
		{"a body of another version", ReasonMalformed, "version", forged(t, []byte(`{"cluster":"edge-1","nodes":[],"v":2}`), 0, 0)},
		{"a node without a name", ReasonMalformed, "no name", edit(3, func(inv *Inventory) { inv.Nodes[0].Name = "" })},
		{"a node without a key", ReasonMalformed, "no key", edit(3, func(inv *Inventory) { inv.Nodes[0].Key = "" })},
		{"duplicate names", ReasonDuplicateIdentity, "twice", edit(3, func(inv *Inventory) { inv.Nodes[0].Name = inv.Nodes[1].Name })},
		{"duplicate keys", ReasonDuplicateIdentity, "key", edit(3, func(inv *Inventory) { inv.Nodes[0].Key = inv.Nodes[1].Key })},
		{"duplicate elements", ReasonDuplicateIdentity, "socket/0", edit(3, func(inv *Inventory) {
			e := inv.Nodes[0].Elements
			for i := range e {
				if e[i].Slot == "socket/1" {
					e[i].Slot = "socket/0"
				}
			}
		})},
		{"an element without a slot", ReasonMalformed, "no slot", edit(1, func(inv *Inventory) { inv.Nodes[0].Elements[0].Slot = "" })},
		{"an element without a class", ReasonMalformed, "no class", edit(1, func(inv *Inventory) { inv.Nodes[0].Elements[0].Class = "" })},
		{"not JSON", ReasonMalformed, "JSON", forged(t, []byte(`{"cluster":"edge-1","nodes":[}`), 0, 0)},
		{"JSON of another kind", ReasonMalformed, "JSON", forged(t, []byte(`{"cluster":"edge-1","nodes":{"a":1},"v":1}`), 0, 0)},
		{"something after the JSON", ReasonMalformed, "JSON", forged(t, []byte(`{"cluster":"edge-1","nodes":[],"v":1}{}`), 0, 0)},
		{"a long text", ReasonTooLarge, "text", forged(t, []byte(`{"cluster":"`+strings.Repeat("x", MaxStringBytes+1)+`","nodes":[],"v":1}`), 0, 0)},
		{"a million elements", ReasonTooLarge, "elements", forged(t, crowd(1000, 1000), 1000, 1_001_000)},
		{"many elements in one node", ReasonTooLarge, "elements of one node", forged(t, crowd(1, MaxElementsPerNode+1), 1, MaxElementsPerNode+2)},
		{"many nodes", ReasonTooLarge, "nodes", forged(t, crowd(MaxNodes+1, 1), MaxNodes+1, 2*(MaxNodes+1))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := mustDecoder(t).Decode("edge-1", tc.conditions)
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), "edge-1") {
				t.Fatalf("error %v, want invalid, naming edge-1 and %q", err, tc.text)
			}
			if got := ReasonOf(err); got != tc.reason {
				t.Errorf("reason %s (%v), want %s", got, err, tc.reason)
			}
		})
	}
}

// crowd is the JSON of many bare machines.
func crowd(nodes, elements int) []byte {
	var b strings.Builder
	b.WriteString(`{"cluster":"edge-1","nodes":[`)
	for n := range nodes {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"elements":[{"class":"port","slot":"0"}%s],"key":"k%d","name":"n%d","server":{}}`, strings.Repeat(",{}", elements-1), n, n)
	}
	b.WriteString(`],"v":1}`)
	return []byte(b.String())
}

func TestDecodeAtTheLimits(t *testing.T) {
	long := strings.Repeat("x", MaxStringBytes)
	body := crowd(MaxNodes, 1)
	for _, tc := range []struct {
		name  string
		body  []byte
		nodes int
	}{
		{"nodes", body, MaxNodes},
		{"a long text", fmt.Appendf(nil, `{"cluster":"edge-1","nodes":[{"key":"k","name":%q,"server":{}}],"v":1}`, long), 1},
		{"unknown fields", []byte(`{"cluster":"edge-1","nodes":[],"later":{"x":[1,2]},"v":1}`), 0},
	} {
		resources := tc.nodes
		if tc.name == "nodes" {
			resources *= 2
		}
		if _, err := mustDecoder(t).Decode("edge-1", forged(t, tc.body, tc.nodes, resources)); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// What JSON becomes in memory is bounded, whatever stands in it.
func TestSwellingJSONIsBounded(t *testing.T) {
	skipUnderRace(t)
	fillUp := func(head, item, tail string) []byte {
		n := (MaxRawBytes - len(head) - len(tail)) / len(item)
		return []byte(head + strings.Repeat(item, n-1) + strings.TrimSuffix(item, ",") + tail)
	}
	node := `{"cluster":"edge-1","nodes":[{"key":"k","name":"n","server":{`
	for _, tc := range []struct {
		name string
		body []byte
	}{
		{"nodes", fillUp(`{"cluster":"edge-1","v":1,"nodes":[`, `{},`, `]}`)},
		{"null nodes", fillUp(`{"cluster":"edge-1","v":1,"nodes":[`, `null,`, `]}`)},
		{"elements", fillUp(`{"nodes":[{"elements":[`, `{},`, `]}]}`)},
		{"elements of many nodes", fillUp(`{"nodes":[`, `{"elements":[`+strings.Repeat(`{},`, 4000)+`{}]},`, `]}`)},
		{"elements, the same key again and again", fillUp(`{"nodes":[{`, `"elements":[{},{},{},{},{},{},{},{}],`, `}]}`)},
		{"NUMA nodes", fillUp(node+`"numa":[`, `{},`, `]}}]}`)},
		{"distances", fillUp(node+`"numa":[{"distances":[`, `0,`, `]}]}}]}`)},
		{"labels", fillUp(node+`"node":{"labels":{`, `"":"",`, `}}}}]}`)},
		{"depth", fillUp(`{"nodes":`, `[`, ``)},
		{"numbers", fillUp(`[`, `0,`, `]`)},
		{"texts", fillUp(`{"nodes":[{"conflicts":[`, `{"kept":"`+strings.Repeat("x", 4000)+`"},`, `]}]}`)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conditions := forged(t, tc.body, 1, 1)
			d := mustDecoder(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := d.Decode("edge-1", conditions)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("error %v, want invalid", err)
			}
			if spent := after.TotalAlloc - before.TotalAlloc; spent > 4*MaxRawBytes {
				t.Errorf("%d MiB allocated, want at most %d", spent>>20, 4*MaxRawBytes>>20)
			}
		})
	}
}

func TestEqualTextsAreInMemoryOnce(t *testing.T) {
	d := mustDecoder(t)
	conditions := written(t, synthetic("edge-1", 3, 1))
	first, err := d.Decode("edge-1", conditions)
	if err != nil {
		t.Fatal(err)
	}
	second, err := d.Decode("edge-1", conditions)
	if err != nil {
		t.Fatal(err)
	}
	a, b := &first.Inventory.Nodes[0], &second.Inventory.Nodes[0]
	if !sameMemory(a.Server.Model, b.Server.Model) || !sameMemory(a.Elements[0].Slot, b.Elements[0].Slot) {
		t.Error("a model or a slot is in memory twice")
	}
	if sameMemory(a.Server.Serial, b.Server.Serial) {
		t.Error("a serial number fills the table of shared texts")
	}
	cpu := func(m *hardware.Machine) []string {
		i := slices.IndexFunc(m.Elements, func(e hardware.Element) bool { return e.Class == hardware.Processor })
		return m.Elements[i].CPU.Flags
	}
	if &cpu(a)[0] != &cpu(b)[0] {
		t.Error("the flags of processors are in memory twice")
	}
}

func TestTheTableOfSharedTextsIsBounded(t *testing.T) {
	in := newInterner()
	for i := range 3 * internLimit {
		in.text(fmt.Sprint(i))
	}
	if len(in.texts) > internLimit {
		t.Errorf("%d texts, want at most %d", len(in.texts), internLimit)
	}
	for i := range 3 * internLimit {
		in.list([]string{fmt.Sprint(i)})
	}
	if len(in.lists) > internLimit/64 {
		t.Errorf("%d lists, want at most %d", len(in.lists), internLimit/64)
	}
}

func TestFingerprint(t *testing.T) {
	seed := maphash.MakeSeed()
	base := written(t, synthetic("edge-1", 1, 1))
	want := Fingerprint(seed, base)
	for _, tc := range []struct {
		name string
		same bool
		edit func(c []metav1.Condition)
	}{
		{"another add-on condition", true, func(c []metav1.Condition) { c[0].Status = "False" }},
		{"the hub's answer", true, func(c []metav1.Condition) { c[1].Message = "x" }},
		{"the head's reason", false, func(c []metav1.Condition) { c[len(c)-2].Reason = "CollectFailed" }},
		{"the head's message", false, func(c []metav1.Condition) { c[len(c)-2].Message += " x=1" }},
		{"a part", false, func(c []metav1.Condition) { c[len(c)-1].Message = "x" }},
	} {
		c := slices.Clone(base)
		tc.edit(c)
		if same := Fingerprint(seed, c) == want; same != tc.same {
			t.Errorf("%s: same %t, want %t", tc.name, same, tc.same)
		}
	}
}
