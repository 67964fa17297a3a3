package report

import (
	"fmt"
	"testing"
	"time"
)

func BenchmarkEncode(b *testing.B) {
	for _, nodes := range []int{1, 3, 10, 100, 600} {
		inv := synthetic("edge", nodes, 1)
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			enc := mustEncoder(b, MaxParts)
			b.ReportAllocs()
			var got Encoded
			for b.Loop() {
				var err error
				if got, err = enc.Encode(inv); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(chars(got.frame.Parts)), "chars")
			b.ReportMetric(float64(got.frame.Raw), "rawbytes")
			b.ReportMetric(float64(len(got.frame.Parts)), "parts")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, nodes := range []int{1, 3, 10, 100, 600} {
		enc := mustEncoder(b, MaxParts)
		encoded, err := enc.Encode(synthetic("edge", nodes, 1))
		if err != nil {
			b.Fatal(err)
		}
		conditions := enc.Compose(nil, Stamp{Epoch: nilUUID, Now: time.Unix(0, 0)}, encoded).Entries
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			dec := mustDecoder(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := dec.Decode("edge", conditions); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(chars(encoded.frame.Parts)), "chars")
		})
	}
}

func chars(parts []string) int {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	return n
}

func mustEncoder(tb testing.TB, maxParts int) *Encoder {
	tb.Helper()
	enc, err := NewEncoder(maxParts)
	if err != nil {
		tb.Fatal(err)
	}
	return enc
}

func mustDecoder(tb testing.TB) *Decoder {
	tb.Helper()
	dec, err := NewDecoder()
	if err != nil {
		tb.Fatal(err)
	}
	return dec
}
