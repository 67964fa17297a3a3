package alert

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/o2ims/o2ims/pkg/report"
)

const journalVersion = 1

// headDoc is what the first ConfigMap holds.
type headDoc struct {
	headFigures
	Log logDoc `json:"log"` // what comes after the chunks

	// Book is the book as it is, unless it is too large to be written each time.
	Book *bookDoc `json:"book,omitempty"`
}

type headFigures struct {
	V         int               `json:"v"`
	Writer    string            `json:"writer"` // names the process that wrote it
	Writes    uint64            `json:"writes"` // counts its writes, so that no two heads are equal
	Epoch     string            `json:"epoch"`
	Store     string            `json:"store,omitempty"` // of the hub, when it confirmed something last
	End       uint64            `json:"end"`
	Acked     uint64            `json:"acked"`
	Published uint64            `json:"published"`
	Compacted uint64            `json:"compacted,omitempty"`
	Dropped   map[string]uint64 `json:"dropped,omitempty"`
	Chunks    []chunkRef        `json:"chunks,omitempty"` // of the log, oldest first

	// A large book as it was when the log in the head began.
	BookChunks []chunkRef `json:"bookChunks,omitempty"`
	BookEnd    uint64     `json:"bookEnd,omitempty"` // sequence up to which the chunks know all
}

// chunkRef refers to another ConfigMap.
type chunkRef struct {
	Slot   int    `json:"slot"`
	SHA256 string `json:"sha256"` // of the compressed data
	Bytes  int    `json:"bytes"`
	Count  int    `json:"count,omitempty"` // transitions
}

// logDoc is a piece of the log.
type logDoc struct {
	Texts       []*report.AlertText `json:"texts"`
	Transitions []report.Transition `json:"transitions"`
}

func logDocOf(entries []*entry) logDoc {
	t := textTable{}
	d := logDoc{Transitions: make([]report.Transition, len(entries))}
	for i, e := range entries {
		d.Transitions[i] = e.Transition
		d.Transitions[i].Text = t.place(e.text)
	}
	d.Texts = t.texts
	return d
}

// entries returns the transitions, or as many as make sense.
func (d logDoc) entries() []*entry {
	all := make([]*entry, 0, len(d.Transitions))
	for _, t := range d.Transitions {
		if t.Text < 0 || t.Text >= len(d.Texts) || d.Texts[t.Text] == nil {
			return all
		}
		e := &entry{Transition: t, text: d.Texts[t.Text]}
		e.Text = 0
		all = append(all, e)
	}
	return all
}

// textTable numbers texts that are in memory once.
type textTable struct {
	texts  []*report.AlertText
	places map[*report.AlertText]int
}

func (t *textTable) place(text *report.AlertText) int {
	if i, known := t.places[text]; known {
		return i
	}
	if t.places == nil {
		t.places = make(map[*report.AlertText]int)
	}
	t.places[text] = len(t.texts)
	t.texts = append(t.texts, text)
	return len(t.texts) - 1
}

// bookDoc is a book, or a piece of one.
type bookDoc struct {
	Texts []*report.AlertText  `json:"texts,omitempty"`
	Open  []openDoc            `json:"open,omitempty"`
	Ended map[string]tombstone `json:"ended,omitempty"` // by fingerprint
}

type openDoc struct {
	report.OpenAlert
	Via  string `json:"via"`
	Seen int64  `json:"seen"`
}

func bookDocOf(open []*episode, ended map[string]tombstone) bookDoc {
	t := textTable{}
	d := bookDoc{Open: make([]openDoc, len(open)), Ended: ended}
	for i, e := range open {
		d.Open[i] = openDoc{
			OpenAlert: report.OpenAlert{Opened: e.opened, Suppress: e.suppressed, Text: t.place(e.text), Episode: e.Episode},
			Via:       e.via, Seen: e.seen,
		}
	}
	d.Texts = t.texts
	return d
}

// addTo puts what the document says into a book.
func (d bookDoc) addTo(b *Book) {
	for _, o := range d.Open {
		if o.Text < 0 || o.Text >= len(d.Texts) || d.Texts[o.Text] == nil {
			continue
		}
		b.open[o.Fingerprint] = &episode{
			Episode: o.Episode, opened: o.Opened, text: d.Texts[o.Text], suppressed: o.Suppress, via: o.Via, seen: o.Seen,
		}
	}
	maps.Copy(b.ended, d.Ended)
}

// document is what can be written to a ConfigMap. The JSON is that of encoding/json, which
// takes ten times as long: somebody waits for each write.
type document interface {
	appendJSON(to jsonText) jsonText
}

// jsonText is JSON in the making.
type jsonText []byte

func (d headDoc) appendJSON(to jsonText) jsonText {
	figures, _ := json.Marshal(d.headFigures) // plain figures and texts
	to = append(to, figures[:len(figures)-1]...)
	to = d.Log.appendJSON(append(to, `,"log":`...))
	if d.Book != nil {
		to = d.Book.appendJSON(append(to, `,"book":`...))
	}
	return append(to, '}')
}

func (d logDoc) appendJSON(to jsonText) jsonText {
	to = append(to, `{"texts":`...)
	to = to.texts(d.Texts)
	to = append(to, `,"transitions":[`...)
	for i := range d.Transitions {
		to = to.comma(i).transition(&d.Transitions[i])
	}
	return append(to, "]}"...)
}

func (d bookDoc) appendJSON(to jsonText) jsonText {
	to = append(to, `{"texts":`...)
	to = to.texts(d.Texts)
	to = append(to, `,"open":[`...)
	for i := range d.Open {
		o := &d.Open[i]
		to = append(to.comma(i), '{')
		to = to.number("open", int64(o.Opened)).number("text", int64(o.Text)).number("seen", o.Seen)
		to = to.flag("suppressed", o.Suppress).text("via", o.Via).episode(o.Episode)
	}
	to = append(to, `],"ended":{`...)
	for i, fp := range slices.Sorted(maps.Keys(d.Ended)) {
		t := d.Ended[fp]
		to = append(to.comma(i).quoted(fp), ":{"...)
		to = to.number("s", t.Starts).number("e", t.Ends).flag("g", t.Estimated)
		to = strconv.AppendInt(append(to, `"c":`...), t.Closed, 10)
		to = append(to, '}')
	}
	return append(to, "}}"...)
}

func (to jsonText) comma(i int) jsonText {
	if i > 0 {
		return append(to, ',')
	}
	return to
}

func (to jsonText) transition(t *report.Transition) jsonText {
	to = append(to, '{')
	to = to.number("count", int64(t.Count)).number("ends", t.Ends).flag("estimated", t.Estimated).number("from", int64(t.From))
	to = to.number("obs", t.Observed).number("seq", int64(t.Seq)).flag("suppressed", t.Suppress).number("text", int64(t.Text))
	return to.text("type", string(t.Type)).text("via", t.Via).episode(t.Episode)
}

// episode is the end of an object.
func (to jsonText) episode(e report.Episode) jsonText {
	to = to.text("fp", e.Fingerprint)
	return append(strconv.AppendInt(append(to, `"starts":`...), e.Starts, 10), '}')
}

// number is a member, with a comma, unless it is 0.
func (to jsonText) number(name string, n int64) jsonText {
	if n == 0 {
		return to
	}
	to = append(append(append(to, '"'), name...), `":`...)
	return append(strconv.AppendInt(to, n, 10), ',')
}

func (to jsonText) flag(name string, set bool) jsonText {
	if !set {
		return to
	}
	return append(append(append(to, '"'), name...), `":true,`...)
}

func (to jsonText) text(name, value string) jsonText {
	to = append(append(append(to, '"'), name...), `":`...)
	return append(to.quoted(value), ',')
}

func (to jsonText) texts(all []*report.AlertText) jsonText {
	to = append(to, '[')
	for i, t := range all {
		to = append(to.comma(i), '{')
		if len(t.Annotations) > 0 {
			to = append(to.mapping("annotations", t.Annotations), ',')
		}
		if t.GeneratorURL != "" {
			to = to.text("generatorURL", t.GeneratorURL)
		}
		to = append(to.mapping("labels", t.Labels), '}')
	}
	return append(to, ']')
}

func (to jsonText) mapping(name string, m map[string]string) jsonText {
	to = append(append(append(to, '"'), name...), `":{`...)
	var room [16]string
	names := room[:0]
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	for i, k := range names {
		to = append(to.comma(i).quoted(k), ':')
		to = to.quoted(m[k])
	}
	return append(to, '}')
}

func (to jsonText) quoted(s string) jsonText {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			escaped, _ := json.Marshal(s)
			return append(to, escaped...)
		}
	}
	return append(append(append(to, '"'), s...), '"')
}
