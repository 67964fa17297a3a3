package conformance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// trial is a collection with one of its paths, and values there, on which a filter can be
// tried: it tells records apart.
type trial struct {
	leafPath
	values []string
}

func (t trial) term(op string, values ...string) term {
	return term{op: op, path: t.path, values: values}
}

// texted are a path's values as filters write them.
func texted(values []any) []string {
	list := make([]string, 0, len(values))
	for _, v := range values {
		switch v := v.(type) {
		case string:
			list = append(list, v)
		case json.Number:
			list = append(list, v.String())
		case bool:
			list = append(list, strconv.FormatBool(v))
		}
	}
	return list
}

// only tells whether all values at a path are of one Go type.
func only[T any](p leafPath) bool {
	for _, v := range p.values {
		if _, ok := v.(T); !ok {
			return false
		}
	}
	return len(p.values) > 0
}

// trialOf finds a path on which to try something.
func (x *exchange) trialOf(what string, like func(leafPath) bool) (trial, error) {
	p, err := x.found.leafWhere(x.major, what, like)
	return trial{p, texted(p.values)}, err
}

// nameTrial is a text that every record of a collection has, with several values.
func (x *exchange) nameTrial() (trial, error) {
	return x.trialOf("two records with different names", func(p leafPath) bool {
		return len(p.path) == 1 && p.path[0] == "name" && len(p.values) > 1 && only[string](p)
	})
}

func inExtensions(p leafPath) bool { return len(p.path) > 1 && p.path[0] == "extensions" && !p.many }

func (x *exchange) numberTrial() (trial, error) {
	return x.trialOf("different numbers outside arrays", func(p leafPath) bool { return only[json.Number](p) && len(p.values) > 1 && !p.many })
}

func (x *exchange) boolTrial() (trial, error) {
	return x.trialOf("a boolean that some records lack or have otherwise", func(p leafPath) bool {
		return only[bool](p) && !p.many && (len(p.values) > 1 || p.with < len(p.collection.records))
	})
}

// timeTrial is a path with different instants.
func (x *exchange) timeTrial() (trial, []time.Time, error) {
	var instants []time.Time
	t, err := x.trialOf("two different instants", func(p leafPath) bool {
		instants = nil
		for _, v := range p.values {
			s, _ := v.(string)
			instant, err := time.Parse(time.RFC3339Nano, s)
			if err != nil {
				return false
			}
			instants = append(instants, instant)
		}
		slices.SortFunc(instants, time.Time.Compare)
		return len(instants) > 1
	})
	return t, instants, err
}

func (x *exchange) idTrial() (trial, error) {
	return x.trialOf("two records with UUIDs", func(p leafPath) bool {
		return len(p.path) == 1 && p.path[0] == p.collection.key && len(p.values) > 1 && isUUID(texted(p.values)[0])
	})
}

// optionalTrial is a text below extensions that some records have and some do not.
func (x *exchange) optionalTrial() (trial, error) {
	return x.trialOf("a text in extensions that some records have and some lack", func(p leafPath) bool {
		return inExtensions(p) && only[string](p) && p.with < len(p.collection.records)
	})
}

// extensionTrial is a text below extensions with several values.
func (x *exchange) extensionTrial() (trial, error) {
	return x.trialOf("different texts in extensions", func(p leafPath) bool { return inExtensions(p) && only[string](p) && len(p.values) > 1 })
}

// tagTrial is an array of texts that tells records apart.
func (x *exchange) tagTrial() (trial, error) {
	return x.trialOf("an array of texts that tells records apart", func(p leafPath) bool {
		if !only[string](p) || !scalarArray(p) {
			return false
		}
		t := term{op: "eq", path: p.path, values: texted(p.values)[:1]}
		n := 0
		for _, r := range p.collection.records {
			if ok, _ := matches(r, t); ok {
				n++
			}
		}
		return n > 0 && n < len(p.collection.records)
	})
}

// scalarArray tells whether a path ends at an array of scalars and crosses no other array.
func scalarArray(p leafPath) bool {
	for _, r := range p.collection.records {
		var here any = r
		for _, name := range p.path {
			object, ok := here.(record)
			if !ok {
				here = nil
				break
			}
			here = object[name]
		}
		if _, ok := here.([]any); ok {
			return true
		}
	}
	return false
}

// pair is two paths into one array of objects, and values that two different elements of one
// record have there but no one element has both.
type pair struct {
	collection collection
	a, b       []string
	va, vb     string // of different elements
	both       string // beside va, in one element
}

func (x *exchange) pairTrial() (pair, error) {
	for _, c := range x.found.inUse(x.major) {
		for _, r := range c.records {
			var found *pair
			visitArrays(r, nil, func(path []string, array []any) {
				if found == nil && len(path) < deepest {
					found = pairIn(c, r, path, array)
				}
			})
			if found != nil {
				return *found, nil
			}
		}
	}
	return pair{}, skip("no record has an array of objects of which two differ in two attributes")
}

// visitArrays calls f for every array of objects that no other array holds.
func visitArrays(v any, path []string, f func([]string, []any)) {
	object, ok := v.(record)
	if !ok {
		return
	}
	for name, value := range object {
		at := append(slices.Clone(path), name)
		if array, is := value.([]any); is && writable(at) {
			f(at, array)
		} else {
			visitArrays(value, at, f)
		}
	}
}

func pairIn(c collection, r record, path []string, array []any) *pair {
	for i, first := range array {
		one, _ := first.(record)
		for _, second := range array[i+1:] {
			two, _ := second.(record)
			for a, v1 := range one {
				for b, w1 := range one {
					va, isText := v1.(string)
					vb, _ := two[b].(string)
					both, _ := w1.(string)
					if a == b || !isText || va == "" || vb == "" || both == "" || two[a] == v1 || vb == both {
						continue
					}
					p := &pair{c, append(slices.Clone(path), a), append(slices.Clone(path), b), va, vb, both}
					if ok, _ := matches(r, p.terms(p.vb)...); !ok {
						return p
					}
				}
			}
		}
	}
	return nil
}

func (p pair) terms(second string) []term {
	return []term{{op: "eq", path: p.a, values: []string{p.va}}, {op: "eq", path: p.b, values: []string{second}}}
}

// example is one of package filter's sixty examples, on what the server has instead of its A, B and C.
func example(n int, filter, expect string, run func(x *exchange) error) Case {
	return Case{ID: exampleID(n), Source: "SOL013 5.2, api.md example " + strconv.Itoa(n), Expect: filter + " " + expect, run: run}
}

func exampleID(n int) string { return fmt.Sprintf("INV-FLT-%02d", n) }

// asMeant tries a trial's filter as it is written by us.
func asMeant(find func(x *exchange) (trial, error), terms func(t trial) []term) func(*exchange) error {
	return func(x *exchange) error {
		t, err := find(x)
		if err != nil {
			return err
		}
		meant := terms(t)
		return x.compare(t.collection, []string{write(false, meant...)}, meant...)
	}
}

// asWritten tries a filter whose writing matters, with what it means.
func asWritten(find func(x *exchange) (trial, error), filter func(t trial) (written []string, meant []term)) func(*exchange) error {
	return func(x *exchange) error {
		t, err := find(x)
		if err != nil {
			return err
		}
		written, meant := filter(t)
		return x.compare(t.collection, written, meant...)
	}
}

// malformed wants filters to be refused, on every collection.
func malformed(filters ...string) func(*exchange) error {
	return func(x *exchange) error {
		var wrong faults
		for _, c := range x.found.all(x.major) {
			for _, f := range filters {
				f = strings.ReplaceAll(f, "NAME", c.key)
				if err := x.status(filtered(c.path, f), http.StatusBadRequest); err != nil {
					wrong.add("%w", err)
				}
			}
		}
		return wrong.err()
	}
}

// untyped wants a filter that does not fit the type of a value below a free-form map to be
// refused or to find nothing: the server may or may not know the type.
func untyped(find func(x *exchange) (trial, error), op, value string) func(*exchange) error {
	return func(x *exchange) error {
		t, err := find(x)
		if err != nil {
			return err
		}
		a, err := x.get(filtered(t.collection.path, t.term(op, value).write(false)))
		if err != nil {
			return err
		}
		if a.status == http.StatusBadRequest {
			return nil
		}
		if err := a.want(http.StatusOK); err != nil {
			return err
		}
		list, err := a.list()
		if _, negative := positive[op]; err == nil && len(list) > 0 && !negative {
			err = fmt.Errorf("%s: %d records match", a.call, len(list))
		}
		return err
	}
}

func exampleCases() []Case {
	name, num, boolean := (*exchange).nameTrial, (*exchange).numberTrial, (*exchange).boolTrial
	id, tag, ext, opt := (*exchange).idTrial, (*exchange).tagTrial, (*exchange).extensionTrial, (*exchange).optionalTrial
	t := func(op string, count int) func(trial) []term {
		return func(t trial) []term { return []term{t.term(op, t.values[:min(count, len(t.values))]...)} }
	}
	part := func(op string) func(trial) []term {
		return func(t trial) []term { return []term{t.term(op, piece(t.values[0]))} }
	}
	raw := func(format string, meant func(trial) []term) func(trial) ([]string, []term) {
		return func(t trial) ([]string, []term) {
			return []string{strings.NewReplacer("PATH", joined(t.path), "VALUE", t.values[0]).Replace(format)}, meant(t)
		}
	}
	return []Case{
		example(1, "(eq,name,v)", "the records with that name", asMeant(plainName, t("eq", 1))),
		example(2, "(EQ,name,v)", "operators in any case", asWritten(plainName, raw("(EQ,PATH,VALUE)", t("eq", 1)))),
		example(3, "(eq,name,'v, w')", "quotes protect what is in them", asWritten(specialName(", "), raw("(eq,PATH,'VALUE')", t("eq", 1)))),
		example(4, "(eq,name,v, w)", "two values are 400", malformed("(eq,NAME,v, w)")),
		example(5, "(eq,name,'it''s')", "two quotes are one", asWritten(specialName("'"), func(t trial) ([]string, []term) {
			return []string{t.term("eq", t.values[0]).write(true)}, []term{t.term("eq", t.values[0])}
		})),
		example(6, "(eq,name,it's)", "a quote inside a bare value is itself", asWritten(specialName("'"), raw("(eq,PATH,VALUE)", t("eq", 1)))),
		example(7, "(neq,name,v)", "all others", asMeant(name, t("neq", 1))),
		example(8, "(cont,name,part)", "names that contain it", asMeant(name, part("cont"))),
		example(9, "(cont,name,part,part)", "names that contain one of them", asMeant(name, func(t trial) []term {
			return []term{t.term("cont", piece(t.values[0]), piece(t.values[1]))}
		})),
		example(10, "(ncont,name,part)", "names that do not contain it", asMeant(name, part("ncont"))),
		example(11, "(in,name,v,w)", "either name", asMeant(name, t("in", 2))),
		example(12, "(nin,name,v)", "all others", asMeant(name, t("nin", 1))),
		example(13, "(gt,n,v)", "greater, as numbers", asMeant(num, middle("gt"))),
		example(14, "(gte,n,v)", "greater or equal", asMeant(num, middle("gte"))),
		example(15, "(lt,n,v)", "less", asMeant(num, middle("lt"))),
		example(16, "(eq,n,5.0)", "equal however it is written", asMeant(num, func(t trial) []term {
			f, _ := json.Number(t.values[0]).Float64()
			return []term{t.term("eq", strconv.FormatFloat(f, 'e', -1, 64))}
		})),
		example(17, "(eq,n,abc)", "400, or no record where the type is free", untyped(num, "eq", "abc")),
		example(18, "(in,n,v,w)", "either number", asMeant(num, t("in", 2))),
		example(19, "(eq,b,true)", "those that are", asMeant(boolean, func(t trial) []term { return []term{t.term("eq", "true")} })),
		example(20, "(eq,b,1)", "400, or no record where the type is free", untyped(boolean, "eq", "1")),
		example(21, "(neq,b,yes)", "400, or 200 where the type is free", untyped(boolean, "neq", "yes")),
		example(22, "(gt,b,true)", "400, or no record where the type is free", untyped(boolean, "gt", "true")),
		example(23, "(gt,when,t)", "later", instants("gt", 0, "-09:30")),
		example(24, "(lt,when,t)", "earlier, as instants, whatever the offset", instants("lt", 1, "+02:00")),
		example(25, "(eq,uid,v)", "UUIDs in any case", asMeant(id, func(t trial) []term { return []term{t.term("eq", strings.ToUpper(t.values[0]))} })),
		example(26, "(neq,uid,v)", "all others, UUIDs in any case", asMeant(id, func(t trial) []term { return []term{t.term("neq", strings.ToUpper(t.values[0]))} })),
		example(27, "(eq,tags,x)", "some element of the array", asMeant(tag, t("eq", 1))),
		example(28, "(nin,tags,x)", "no element of the array", asMeant(tag, t("nin", 1))),
		example(29, "(eq,parts/k,q)", "some object of the array", pairs(func(p pair) []term { return p.terms(p.vb)[:1] })),
		example(30, "(eq,parts/k,p);(eq,parts/v,2)", "not when no one object has both", pairs(func(p pair) []term { return p.terms(p.vb) })),
		example(31, "(eq,parts/k,q);(eq,parts/v,2)", "when one object has both", pairs(func(p pair) []term { return p.terms(p.both) })),
		example(32, "(eq,extensions/country,v)", "below extensions", asMeant(ext, t("eq", 1))),
		example(33, "(neq,extensions/country,v)", "matches records without it", asMeant(opt, t("neq", 1))),
		example(34, "(in,extensions/country,v,w)", "records without it do not match", asMeant(opt, t("in", 2))),
		example(35, "(cont,extensions/country,part)", "records without it do not match", asMeant(opt, part("cont"))),
		example(36, "(gt,extensions/size,v)", "records without it do not match", asMeant(optionalNumber, middle("gte"))),
		example(37, "(eq,extensions/nics/eno1/speed,v)", "four names deep", asMeant(deepTrial, t("eq", 1))),
		example(38, "(eq,extensions/labels/zone,v)", "keys of a map", asMeant(mapTrial(false), t("eq", 1))),
		example(39, "(eq,extensions/labels/app.io~1x,v)", "keys with dots, dashes and slashes", asMeant(mapTrial(true), t("eq", 1))),
		example(40, "(eq,extensions/@key,country)", "by the keys themselves", asMeant(opt, func(t trial) []term {
			last := len(t.path) - 1
			return []term{{op: "eq", path: append(slices.Clone(t.path[:last]), keysOf), values: t.path[last:]}}
		})),
		example(41, "(eq,name,v);(eq,n,w)", "both", asMeant(id, both)),
		example(42, "(eq,name,v) ; (eq,n,w)", "white space around ; is ignored", asWritten(id, func(t trial) ([]string, []term) {
			meant := both(t)
			return []string{meant[0].write(false) + " ; " + meant[1].write(false)}, meant
		})),
		example(43, "( eq , name , v )", "white space around everything bare is ignored", asWritten(plainName, raw("( eq , PATH , VALUE )", t("eq", 1)))),
		example(44, "(eq,name,a;b)", "a ; inside a bare value belongs to it", func(x *exchange) error {
			var wrong faults
			for _, c := range x.found.all(x.major) {
				if err := x.expect(c, []string{"(eq," + c.key + ",a;b)"}, nil); err != nil {
					wrong.add("%w", err)
				}
			}
			return wrong.err()
		}),
		example(45, "(eq,extensions,x)", "an object is nothing to compare: 400", func(x *exchange) error {
			var wrong faults
			for _, c := range x.found.all(x.major) {
				if c.key == "alarmDictionaryId" {
					continue
				}
				if err := x.status(filtered(c.path, "(eq,extensions,x)"), http.StatusBadRequest); err != nil {
					wrong.add("%w", err)
				}
			}
			return wrong.err()
		}),
		example(46, "(eq,name,null)", "no record: names are never null", func(x *exchange) error {
			var wrong faults
			for _, c := range x.found.all(x.major) {
				if err := x.expect(c, []string{"(eq," + c.key + ",null)"}, nil); err != nil {
					wrong.add("%w", err)
				}
			}
			return wrong.err()
		}),
		example(47, "(eq,WrongAttrName,anyvalue)", "400", malformed("(eq,WrongAttrName,anyvalue)", "(neq,wrong/name,x)", "(eq,NAME,x);(eq,WrongAttrName,x)")),
		example(48, "(foo,name,x)", "400", malformed("(foo,NAME,x)", "(,NAME,x)", "(e q,NAME,x)")),
		example(49, "(eq,name)", "400", malformed("(eq,NAME)", "(in,NAME)", "(eq)")),
		example(50, "eq,name,x", "400", malformed("eq,NAME,x", "x(eq,NAME,x)")),
		example(51, "(eq,name,x", "400", malformed("(eq,NAME,x", "(eq,NAME,x;(eq,NAME,x", "((eq,NAME,x)")),
		example(52, "(eq,name,'v)", "an open quote is 400", malformed("(eq,NAME,'v)", "(eq,NAME,'v''", "(eq,NAME,'v'w)")),
		example(53, "(eq,name,x);", "as without the ; at the end", asWritten(plainName, raw("(eq,PATH,VALUE);", t("eq", 1)))),
		example(54, "(eq,name,x);;(eq,n,5)", "400", malformed("(eq,NAME,x);;(eq,NAME,x)", ";(eq,NAME,x)", ";", "(eq,NAME,x);;")),
		example(55, "(eq,name,x)(eq,n,5)", "400", malformed("(eq,NAME,x)(eq,NAME,x)", "(eq,NAME,x),(eq,NAME,x)", "(eq,NAME,x)|(eq,NAME,x)")),
		example(56, "() and (eq,,x) and (eq,name/,x) and (eq,/name,x)", "400", malformed("()", "(eq,,x)", "(eq,NAME/,x)", "(eq,/NAME,x)", "(eq,//NAME,x)", "(eq, ,x)")),
		example(57, "(eq,my~attr,x)", "an unknown attribute: 400", malformed("(eq,my~attr,x)", "(eq,my~0attr,x)", "(eq,my~,x)")),
		example(58, "(eq,parts/0/k,p)", "no index access: 400", func(x *exchange) error {
			c, err := x.found.pool()
			if err != nil {
				return err
			}
			return x.status(filtered(c.path, "(eq,elements/0/description,p)"), http.StatusBadRequest)
		}),
		example(59, "(eq,name,)", "no value is 400, with any operator", malformed("(eq,NAME,)", "(in,NAME,)", "(nin,NAME,)", "(cont,NAME, )", "(in,NAME,x,)")),
		example(60, "filter=(…)&filter=(…)", "all parameters must hold", asWritten(id, func(t trial) ([]string, []term) {
			meant := both(t)
			return []string{meant[0].write(false), meant[1].write(false)}, meant
		})),
	}
}

// piece is a part of a text, in its middle.
func piece(s string) string {
	runes := []rune(s)
	from := len(runes) / 3
	if p := string(runes[from:max(from+1, len(runes)*2/3)]); strings.TrimSpace(p) == p {
		return p
	}
	return string(runes[:1])
}

// both is two terms of which each lets more through than the two together.
func both(t trial) []term {
	return []term{t.term("in", t.values[0], t.values[1]), t.term("neq", t.values[1])}
}

// middle compares with a value in the middle of what there is.
func middle(op string) func(trial) []term {
	return func(t trial) []term {
		sorted := slices.Clone(t.values)
		slices.SortFunc(sorted, func(a, b string) int {
			fa, _ := json.Number(a).Float64()
			fb, _ := json.Number(b).Float64()
			return cmp.Compare(fa, fb)
		})
		return []term{t.term(op, sorted[len(sorted)/2])}
	}
}

// plainName is a name that can be written without quotes.
func plainName(x *exchange) (trial, error) {
	t, err := x.nameTrial()
	if err != nil {
		return t, err
	}
	for _, v := range t.values {
		if !strings.ContainsAny(v, ",()';") {
			t.values = []string{v}
			return t, nil
		}
	}
	return t, skip("every name needs quotes")
}

// specialName is a text of any attribute with these characters in it.
func specialName(characters string) func(*exchange) (trial, error) {
	return func(x *exchange) (trial, error) {
		chosen := ""
		t, err := x.trialOf(fmt.Sprintf("a text with %q in it", characters), func(p leafPath) bool {
			if !only[string](p) {
				return false
			}
			for _, v := range texted(p.values) {
				inside := strings.Trim(v, "' ")
				if strings.Contains(inside, characters) && inside == v && (characters == "'" == !strings.ContainsAny(v, ",()")) && (characters == "'" || !strings.Contains(v, "'")) {
					chosen = v
					return true
				}
			}
			return false
		})
		t.values = []string{chosen}
		return t, err
	}
}

func optionalNumber(x *exchange) (trial, error) {
	return x.trialOf("a number in extensions that some records lack", func(p leafPath) bool {
		return inExtensions(p) && only[json.Number](p) && p.with < len(p.collection.records)
	})
}

func deepTrial(x *exchange) (trial, error) {
	return x.trialOf("an attribute four names deep", func(p leafPath) bool { return inExtensions(p) && len(p.path) >= 4 && !p.many })
}

// mapTrial is a value in a map whose keys are labels: plain ones, or such as a name cannot be.
func mapTrial(special bool) func(*exchange) (trial, error) {
	return func(x *exchange) (trial, error) {
		return x.trialOf("a label with such a key", func(p leafPath) bool {
			key := p.path[len(p.path)-1]
			return inExtensions(p) && only[string](p) && texted(p.values)[0] != "" && len(p.path) >= 3 &&
				(strings.Contains(key, "/") && strings.ContainsAny(key, ".-")) == special
		})
	}
}

func pairs(terms func(pair) []term) func(*exchange) error {
	return func(x *exchange) error {
		p, err := x.pairTrial()
		if err != nil {
			return err
		}
		meant := terms(p)
		return x.compare(p.collection, []string{write(false, meant...)}, meant...)
	}
}

// instants compares with an instant of the collection, written in another offset, so that a
// comparison of texts would be wrong about the record that has it.
func instants(op string, which int, zone string) func(*exchange) error {
	return func(x *exchange) error {
		t, all, err := x.timeTrial()
		if err != nil {
			return err
		}
		offset, err := time.Parse("-07:00", zone)
		if err != nil {
			return err
		}
		_, seconds := offset.Zone()
		instant := all[which].In(time.FixedZone("", seconds)).Format(time.RFC3339Nano)
		meant := t.term(op, instant)
		return x.compare(t.collection, []string{meant.write(false)}, meant)
	}
}

// grammarCases are about writing that the examples do not have.
func grammarCases() []Case {
	name := (*exchange).nameTrial
	return []Case{
		{ID: "INV-GRM-01", Source: "SOL013 5.2", Expect: "an empty filter= is ignored", run: func(x *exchange) error {
			return x.same("/resourceTypes?fields=name", "/resourceTypes?fields=name&filter=")
		}},
		{ID: "INV-GRM-02", Source: "SOL013 5.2", Expect: "'' is the empty text", run: asWritten(name, func(t trial) ([]string, []term) {
			return []string{"(neq," + joined(t.path) + ",'')"}, []term{t.term("neq", "")}
		})},
		{ID: "INV-GRM-03", Source: "SOL013 5.2", Expect: "spaces inside quotes are kept, those around them dropped", run: func(x *exchange) error {
			t, err := plainName(x)
			if err != nil {
				return err
			}
			var wrong faults
			at := "(eq," + joined(t.path) + ","
			if err := x.compare(t.collection, []string{at + " '" + t.values[0] + "' )"}, t.term("eq", t.values[0])); err != nil {
				wrong.add("%w", err)
			}
			if err := x.expect(t.collection, []string{at + "' " + t.values[0] + "')"}, nil); err != nil {
				wrong.add("%w", err)
			}
			return wrong.err()
		}},
		{ID: "INV-GRM-04", Source: "SOL013 5.2", Expect: "operators in every mixture of case", run: func(x *exchange) error {
			t, err := plainName(x)
			if err != nil {
				return err
			}
			var wrong faults
			for op, written := range map[string]string{"eq": "Eq", "neq": "nEQ", "in": "IN", "nin": "NiN", "cont": "CONT", "ncont": "Ncont", "gt": "GT", "gte": "gTe", "lt": "LT", "lte": "LTE"} {
				if err := x.compare(t.collection, []string{"(" + written + "," + joined(t.path) + "," + t.values[0] + ")"}, t.term(op, t.values[0])); err != nil {
					wrong.add("%w", err)
				}
			}
			return wrong.err()
		}},
		{ID: "INV-GRM-05", Source: "SOL013 5.2", Expect: "escapes ~0 ~1 ~a ~b anywhere in names; names that are nowhere match nothing", run: func(x *exchange) error {
			var wrong faults
			for _, path := range []string{"a~0", "~0a", "a~1b", "a~ab", "~bkey", "a~0~1~a~b", "app.kubernetes.io~1name", "hugepages-1Gi", "0digit", "x:y", "ünïcode", "a@b"} {
				for op, want := range map[string][]string{"eq": nil, "neq": x.found.pools.ids()} {
					if err := x.expect(x.found.pools, []string{"(" + op + ",extensions/" + path + ",x)"}, want); err != nil {
						wrong.add("%w", err)
					}
				}
			}
			return wrong.err()
		}},
		{ID: "INV-GRM-06", Source: "SOL013 5.2", Expect: "every label of every record can be filtered by its key, whatever is in it", run: everyLabel},
		{ID: "INV-GRM-07", Source: "SOL013 5.2", Expect: "paths are case-sensitive", run: malformed("(eq,Name,x)", "(eq,DESCRIPTION,x)")},
		{ID: "INV-GRM-08", Source: "RFC 3986 2.1; SOL013 5.2", Expect: "a filter that cannot be read is 400, never as if there were none: broken percent-encoding, NUL", run: func(x *exchange) error {
			var wrong faults
			for _, q := range []string{"filter=(eq,name,%zz)", "filter=(eq,name,x%)", "filter=(eq,na%00me,x)", "fields=name&filter=%(eq,name,x)"} {
				if err := x.status("/resourcePools?"+q, http.StatusBadRequest); err != nil {
					wrong.add("%w", err)
				}
			}
			return wrong.err()
		}},
		{ID: "INV-GRM-09", Source: "api.md.10", Expect: "a filter on a single object: 400 when it is wrong, 404 when the object does not match", run: singleFilters},
		{ID: "INV-GRM-10", Source: "SOL013 5.2", Expect: "names are checked against the listed type and version, not against all", run: strangeNames},
		{ID: "INV-GRM-11", Source: "SOL013 5.2", Expect: "every attribute that a record has can be filtered on", run: everyAttribute},
	}
}

func everyLabel(x *exchange) error {
	var wrong faults
	tried := false
	for _, c := range x.found.inUse(x.major) {
		for _, p := range x.found.leaves(c) {
			last := p.path[len(p.path)-1]
			if !inExtensions(p) || !only[string](p) || !strings.ContainsAny(last, ".-/~,@0123456789") {
				continue
			}
			tried = true
			t := term{op: "eq", path: p.path, values: texted(p.values)[:1]}
			if err := x.compare(c, []string{t.write(false)}, t); err != nil {
				wrong.add("%w", err)
			}
		}
	}
	if !tried {
		return skip("no record has a label")
	}
	return wrong.err()
}

func singleFilters(x *exchange) error {
	var wrong faults
	for _, c := range x.found.inUse(x.major) {
		id := c.ids()[0]
		for filter, want := range map[string]int{"(eq," + c.key + "," + id + ")": 200, "(neq," + c.key + "," + id + ")": 404, "junk": 400, "(eq,WrongAttrName,x)": 400} {
			if err := x.status(filtered(c.single(id), filter), want); err != nil {
				wrong.add("%w", err)
			}
		}
	}
	return wrong.err()
}

// strangers are names that other types or the other version have.
var strangers = map[string]map[string][]string{
	"v1": {
		"/resourcePools": {"callback", "resourceTypeId", "oCloudSiteId", "vendor", "alarmName"},
		"/resourceTypes": {"alarmDictionaryId", "resourceId", "oCloudId"}, "/deploymentManagers": {"resourcePoolId", "location"}, "/alarmDictionaries": {"name", "alarmName", "extensions/x"},
	},
	"v2": {
		"/resourcePools": {"callback", "resourceTypeId", "oCloudId", "globalLocationId", "location"},
		"/resourceTypes": {"alarmDictionary/vendor", "resourceId"}, "/deploymentManagers": {"resourcePoolId", "location"}, "/alarmDictionaries": {"name", "alarmName", "extensions/x"},
		"/locations": {"oCloudSiteId", "oCloudSites", "civicAddress/street"}, "/oCloudSites": {"oCloudSiteIds", "address"},
	},
}

func strangeNames(x *exchange) error {
	var wrong faults
	for path, names := range strangers[x.major] {
		for _, name := range names {
			for _, q := range []string{"filter=(neq," + name + ",x)", "fields=" + name, "exclude_fields=" + name} {
				if err := x.status(path+"?"+q, http.StatusBadRequest); err != nil {
					wrong.add("%w", err)
				}
			}
		}
	}
	return wrong.err()
}

func everyAttribute(x *exchange) error {
	var wrong faults
	for _, c := range x.found.inUse(x.major) {
		for _, p := range x.found.leaves(c) {
			values := texted(p.values)
			if len(values) == 0 {
				continue
			}
			t := term{op: "eq", path: p.path, values: values[:1]}
			if err := x.compare(c, []string{t.write(true)}, t); err != nil && !strings.HasPrefix(joined(p.path), "extensions/") {
				wrong.add("%w", err)
			}
		}
	}
	return wrong.err()
}

// meaningCases are the rules about what is missing, null, an array or an object.
func meaningCases() []Case {
	opt, ext := (*exchange).optionalTrial, (*exchange).extensionTrial
	var list []Case
	for i, op := range []string{"eq", "gt", "gte", "lt", "lte", "in", "cont", "neq", "nin", "ncont"} {
		expect := "a record without the attribute does not match"
		if _, negative := positive[op]; negative {
			expect = "a record without the attribute matches"
		}
		list = append(list, Case{ID: fmt.Sprintf("INV-MIS-%02d", i+1), Source: "SOL013 5.2", Expect: op + ": " + expect,
			run: asMeant(opt, func(t trial) []term { return []term{t.term(op, t.values[0])} })})
	}
	return append(list,
		Case{ID: "INV-MIS-11", Source: "SOL013 5.2", Expect: "(eq,a,null) matches records without a; 'null' in quotes is a text", run: func(x *exchange) error {
			t, err := opt(x)
			if err != nil {
				return err
			}
			var wrong faults
			meant := t.term("eq", "null")
			if err := x.compare(t.collection, []string{meant.write(true)}, meant); err != nil {
				wrong.add("%w", err)
			}
			meant.null = true
			if err := x.compare(t.collection, []string{meant.write(false)}, meant); err != nil {
				wrong.add("%w", err)
			}
			return wrong.err()
		}},
		Case{ID: "INV-MIS-12", Source: "SOL013 5.2", Expect: "(neq,a,null) matches records that have a", run: func(x *exchange) error {
			t, err := opt(x)
			if err != nil {
				return err
			}
			meant := t.term("neq", "null")
			meant.null = true
			return x.compare(t.collection, []string{meant.write(false)}, meant)
		}},
		Case{ID: "INV-MIS-13", Source: "SOL013 5.2", Expect: "negatives over an array: no element may satisfy the positive", run: asMeant((*exchange).tagTrial, func(t trial) []term {
			return []term{t.term("ncont", t.values[0])}
		})},
		Case{ID: "INV-MIS-14", Source: "SOL013 5.2", Expect: "negatives through an array of objects: no object may satisfy the positive", run: pairs(func(p pair) []term {
			return []term{{op: "neq", path: p.a, values: []string{p.va}}}
		})},
		Case{ID: "INV-MIS-15", Source: "SOL013 5.2", Expect: "the filter sees what the selectors leave out", run: func(x *exchange) error {
			t, err := ext(x)
			if err != nil {
				return err
			}
			meant := t.term("eq", t.values[0])
			c := t.collection
			for _, selector := range []string{"exclude_fields=extensions", "exclude_default", "fields=" + c.key} {
				list, err := x.list(filtered(c.path, meant.write(false)) + "&" + selector)
				if err != nil {
					return err
				}
				var want []string
				for _, r := range c.records {
					if ok, _ := matches(r, meant); ok {
						want = append(want, text(r, c.key))
					}
				}
				if got := ids(list, c.key); !slices.Equal(got, want) {
					return fmt.Errorf("%s under %s and %s: %s", c.path, meant.write(false), selector, difference(got, want))
				}
			}
			return nil
		}},
		Case{ID: "INV-MIS-16", Source: "api.md; SOL013 5.2", Expect: "a list without elements can be filtered by them", run: func(x *exchange) error {
			c, server, err := x.found.server()
			if err != nil {
				return err
			}
			e := objects(server, "elements")[0]
			t := term{op: "eq", path: []string{"elements", "resourceId"}, values: []string{text(e, "resourceId")}}
			return x.compare(c, []string{t.write(false)}, t)
		}},
		Case{ID: "INV-MIS-17", Source: "SOL013 5.2", Expect: "known numbers are compared with numbers only: anything else is 400", majors: onlyV2, run: func(x *exchange) error {
			var wrong faults
			for _, f := range []string{"(eq,civicAddress/caType,abc)", "(gt,coordinate/coordinates,north)", "(cont,civicAddress/caType,1)"} {
				if err := x.status(filtered("/locations", f), http.StatusBadRequest); err != nil {
					wrong.add("%w", err)
				}
			}
			return wrong.err()
		}},
		Case{ID: "INV-MIS-18", Source: "SOL013 5.2", Expect: "in and nin compare UUIDs in any case", run: func(x *exchange) error {
			t, err := x.idTrial()
			if err != nil {
				return err
			}
			var wrong faults
			for _, op := range []string{"in", "nin"} {
				meant := t.term(op, strings.ToUpper(t.values[0]), unknownID())
				if err := x.compare(t.collection, []string{meant.write(false)}, meant); err != nil {
					wrong.add("%w", err)
				}
			}
			return wrong.err()
		}},
		Case{ID: "INV-MIS-19", Source: "SOL013 5.2", Expect: "eq compares instants, whatever the offset", run: func(x *exchange) error {
			t, all, err := x.timeTrial()
			if err != nil {
				return err
			}
			meant := t.term("eq", all[0].In(time.FixedZone("", 5*3600+45*60)).Format(time.RFC3339Nano))
			return x.compare(t.collection, []string{meant.write(false)}, meant)
		}},
	)
}

// differentials is how many random filters each collection is asked.
const differentials = 60

// differentialCases ask for what nobody thought of: filters made at random from what the
// server holds, answered by the oracle as well.
func differentialCases() []Case {
	return []Case{{ID: "INV-RND-01", Source: "SOL013 5.2", Expect: "random filters find what a second implementation finds", run: func(x *exchange) error {
		lists := x.found.inUse(x.major)
		if len(lists) == 0 {
			return skip("there are no records")
		}
		random := rand.New(rand.NewPCG(x.run.target.Seed, 1))
		var wrong faults
		for _, c := range lists {
			paths := x.found.leaves(c)
			for range differentials {
				terms, ok := randomTerms(random, c, paths)
				if !ok {
					continue
				}
				if err := x.compare(c, []string{write(random.IntN(2) == 0, terms...)}, terms...); err != nil {
					wrong.add("%w", err)
				}
			}
		}
		return wrong.err()
	}}}
}

// randomTerms makes up to three terms that the oracle can answer for all records.
func randomTerms(random *rand.Rand, c collection, paths []leafPath) ([]term, bool) {
	var terms []term
	arrays := false
	for range 1 + random.IntN(3) {
		p := paths[random.IntN(len(paths))]
		if arrays && p.many {
			continue // whether a negative joins others in their element is nobody's rule
		}
		arrays = arrays || p.many
		if t, ok := randomTerm(random, p); ok {
			terms = append(terms, t)
		}
	}
	for _, r := range c.records {
		if _, err := matches(r, terms...); err != nil {
			return nil, false
		}
	}
	return terms, len(terms) > 0
}

func randomTerm(random *rand.Rand, p leafPath) (term, bool) {
	if len(p.values) == 0 {
		return term{}, false
	}
	v := p.values[random.IntN(len(p.values))]
	t := term{path: p.path, values: texted([]any{v})}
	other := texted([]any{p.values[random.IntN(len(p.values))]})
	switch {
	case only[string](p):
		t.op = []string{"eq", "neq", "gt", "gte", "lt", "lte", "in", "nin", "cont", "ncont"}[random.IntN(10)]
		if t.op == "cont" || t.op == "ncont" {
			if t.values[0] == "" {
				return term{}, false
			}
			t.values[0] = piece(t.values[0])
		}
	case only[json.Number](p):
		t.op = []string{"eq", "neq", "gt", "gte", "lt", "lte", "in", "nin"}[random.IntN(8)]
	case only[bool](p):
		t.op = []string{"eq", "neq", "in", "nin"}[random.IntN(4)]
	default:
		return term{}, false
	}
	if t.op == "in" || t.op == "nin" {
		t.values = append(t.values, other...)
	}
	for _, value := range t.values {
		if len(value) > 1000 {
			return term{}, false
		}
	}
	return t, true
}
