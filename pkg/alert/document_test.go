package alert

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/o2ims/o2ims/pkg/report"
)

// What is written by hand is what encoding/json reads.
func TestDocumentsAreJSON(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	b, seq := NewBook(), uint64(0)
	var log []*entry
	for i := range 300 {
		o := randomObservation(rng, int64(i)*500)
		o.Alerts[0].Labels["odd \"name\"\n"] = "<ä\u2028>\\\x7f\x00"
		o.Alerts[0].GeneratorURL = "http://prometheus/graph?a=b&c=d"
		entries, _ := b.Observe(o, seq)
		seq += uint64(len(entries))
		log = append(log, entries...)
	}
	log[5].Count, log[5].From, log[5].Type = 3, 2, report.CompactedTransitions
	book := bookDocOf(b.episodes(), b.ended)
	want := headDoc{Log: logDocOf(log), Book: &book, headFigures: headFigures{
		V: 1, Writer: "w", Writes: 2, Epoch: "e", Store: "s", End: 9, Acked: 3, Published: 4, Compacted: 5,
		Dropped: map[string]uint64{"a": 1}, Chunks: []chunkRef{{Slot: 1, SHA256: "x", Bytes: 2, Count: 3}}, BookEnd: 7,
		BookChunks: []chunkRef{{Slot: 2}},
	}}
	if len(book.Open) == 0 || len(book.Ended) == 0 {
		t.Fatal("a book with nothing in it")
	}
	var got headDoc
	if err := json.Unmarshal(want.appendJSON(nil), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEqualTextsAreInMemoryOnce(t *testing.T) {
	b := NewBook()
	one, _ := b.Observe(firing(1, 0), 0)
	two, _ := b.Observe(resolved(1, 0, 500), 1)
	three, _ := b.Observe(firing(1, 1000), 2)
	if one[0].text != two[0].text || two[0].text != three[0].text {
		t.Error("equal texts are there more than once")
	}
}
