package filter

import (
	"fmt"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	const text = "(eq,extensions/labels/app.io~1x,'it''s');(in,name,a,b,c);(gt,n,5)"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMatch judges 10,000 records; the time is that of all of them.
func BenchmarkMatch(b *testing.B) {
	records := make([]*pool, 10_000)
	for i := range records {
		records[i] = &pool{Name: fmt.Sprintf("pool-%d", i), N: i, Tags: []string{"x"}, Parts: []part{{K: "p", V: i}},
			Extensions: map[string]any{"serial": fmt.Sprint(i), "labels": map[string]string{"zone": fmt.Sprint(i)}}}
	}
	for _, text := range []string{
		"(eq,name,pool-77)", "(eq,n,77)", "(eq,tags,y)", "(eq,parts/k,p);(eq,parts/v,77)", "(eq,extensions/serial,77)", "(eq,extensions/labels/zone,77)",
	} {
		f, err := Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		for kind, schema := range poolSchemas() {
			m, err := schema.Compile(f)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(text+"/"+kind, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					for _, r := range records {
						m.Match(r)
					}
				}
			})
		}
	}
}
