package report

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/o2ims/o2ims/pkg/fault"
)

func mustFrame(tb testing.TB, body []byte) Frame {
	tb.Helper()
	f, err := NewFrame(body)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func mustUnframer(tb testing.TB) *Unframer {
	tb.Helper()
	u, err := NewUnframer(1)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// noise does not compress.
func noise(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestFrameAndBack(t *testing.T) {
	for _, body := range [][]byte{[]byte("{}"), []byte(strings.Repeat("o2ims ", 1000)), noise(100_000), make([]byte, MaxRawBytes)} {
		f := mustFrame(t, body)
		got, err := mustUnframer(t).Unframe(f)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("body of %d bytes: came back with %d, %v", len(body), len(got), err)
		}
		for i, part := range f.Parts {
			if len(part) > PartChars || (i < len(f.Parts)-1 && len(part) < PartChars) {
				t.Errorf("body of %d bytes: part %d has %d characters", len(body), i, len(part))
			}
			if _, err := base64.StdEncoding.DecodeString(part); err != nil {
				t.Errorf("body of %d bytes: part %d cannot be decoded alone: %v", len(body), i, err)
			}
		}
	}
}

func TestCutAtTheLimit(t *testing.T) {
	for _, tc := range []struct{ chars, want int }{{1, 1}, {PartChars - 1, 1}, {PartChars, 1}, {PartChars + 1, 2}, {2 * PartChars, 2}, {2*PartChars + 1, 3}} {
		parts := cut(strings.Repeat("A", tc.chars))
		if len(parts) != tc.want || chars(parts) != tc.chars {
			t.Errorf("cut(%d characters) gave %d parts with %d, want %d", tc.chars, len(parts), chars(parts), tc.want)
		}
	}
}

// packed makes a frame by hand, so that tests can lie in it.
func packed(zstdBytes []byte, raw int, digest string) Frame {
	return Frame{Parts: cut(base64.StdEncoding.EncodeToString(zstdBytes)), Raw: raw, Bytes: len(zstdBytes), SHA256: digest}
}

func compress(tb testing.TB, body []byte, opts ...zstd.EOption) []byte {
	tb.Helper()
	enc, err := zstd.NewWriter(nil, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(body, nil)
}

func TestUnframeRefuses(t *testing.T) {
	body := []byte(strings.Repeat("one small cluster. ", 40))
	good := mustFrame(t, body)
	change := func(f func(*Frame)) Frame {
		g := good
		g.Parts = append([]string(nil), good.Parts...)
		f(&g)
		return g
	}
	big := mustFrame(t, noise(PartChars)) // two parts
	corrupt := compress(t, body, zstd.WithEncoderCRC(true))
	corrupt[len(corrupt)/2] ^= 0xff

	for _, tc := range []struct {
		name, wantReason string
		frame            Frame
	}{
		{"more characters than a message holds", ReasonCorrupt, Frame{Parts: []string{strings.Repeat("A", PartChars+1)}, Raw: 1, Bytes: 3 * (PartChars + 1) / 4}},
		{"a part before the last is short", ReasonCorrupt, Frame{Parts: []string{big.Parts[0][:PartChars-4], big.Parts[1]}, Raw: big.Raw, Bytes: big.Bytes, SHA256: big.SHA256}},
		{"an empty part", ReasonCorrupt, change(func(f *Frame) { f.Parts = append(f.Parts, "") })},
		{"25 parts", ReasonTooLarge, Frame{Parts: cut(strings.Repeat("A", 25*PartChars)), Raw: 1, Bytes: 25 * PartChars / 4 * 3}},
		{"one byte more than the limit", ReasonTooLarge, change(func(f *Frame) { f.Raw = MaxRawBytes + 1 })},
		{"not base64", ReasonCorrupt, change(func(f *Frame) { f.Parts[0] = "*" + f.Parts[0][1:] })},
		{"base64 for URLs", ReasonCorrupt, change(func(f *Frame) { f.Parts[0] = f.Parts[0][:8] + "-_" + f.Parts[0][10:] })},
		{"line breaks in base64", ReasonCorrupt, change(func(f *Frame) { f.Parts[0] += "\r\n" })},
		{"bits after the end of base64", ReasonCorrupt, Frame{Parts: []string{"KB=="}, Raw: 1, Bytes: 1}},
		{"length of the frame", ReasonCorrupt, change(func(f *Frame) { f.Bytes++ })},
		{"longer than announced", ReasonCorrupt, change(func(f *Frame) { f.Raw-- })},
		{"shorter than announced", ReasonCorrupt, change(func(f *Frame) { f.Raw++ })},
		{"digest", ReasonCorrupt, change(func(f *Frame) { f.SHA256 = digestOf([]byte("other")) })},
		{"not zstd", ReasonCorrupt, packed([]byte("this is not a zstd frame"), 10, good.SHA256)},
		{"damaged zstd", ReasonCorrupt, packed(corrupt, len(body), good.SHA256)},
		{"cut zstd", ReasonCorrupt, packed(compress(t, body)[:20], len(body), good.SHA256)},
		{"skippable frame", ReasonCorrupt, packed([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}, 4, good.SHA256)},
		{"empty", ReasonCorrupt, Frame{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := mustUnframer(t).Unframe(tc.frame)
			if !errors.Is(err, fault.Invalid) || got != nil {
				t.Fatalf("Unframe() = %d bytes, %v, want none, invalid", len(got), err)
			}
			if ReasonOf(err) != tc.wantReason {
				t.Errorf("reason %s (%v), want %s", ReasonOf(err), err, tc.wantReason)
			}
		})
	}
}

func TestLimitsAreReached(t *testing.T) {
	atLimit := mustFrame(t, noise(24*PartChars/4*3-100))
	if len(atLimit.Parts) != MaxParts {
		t.Fatalf("%d parts, want %d", len(atLimit.Parts), MaxParts)
	}
	if _, err := mustUnframer(t).Unframe(atLimit); err != nil {
		t.Errorf("24 parts: %v", err)
	}
}

// A bomb is a small frame that unpacks into much. Whatever it claims, reading it may cost
// what an honest report of the largest size costs, and no more.
func TestBombsCostNoMoreThanTheLimit(t *testing.T) {
	huge := make([]byte, 256<<20)
	withSize := compress(t, huge)
	sizeless := streamed(t, huge)
	short := compress(t, huge[:4096])
	var concatenated []byte
	for range 64 << 20 / 4096 {
		concatenated = append(concatenated, short...)
	}
	for _, tc := range []struct {
		name  string
		frame Frame
		limit uint64 // bytes allocated
	}{
		{"honest about its size", packed(withSize, len(huge), digestOf(nil)), 1 << 20},
		{"lying in the head", packed(withSize, MaxRawBytes, digestOf(nil)), 1 << 20},
		{"lying small", packed(withSize, 100, digestOf(nil)), 1 << 20},
		{"without a size", packed(sizeless, MaxRawBytes, digestOf(nil)), 2*MaxRawBytes + 8<<20},
		{"without a size, lying small", packed(sizeless, 100, digestOf(nil)), 4 << 20},
		{"many frames in one", packed(concatenated[:len(short)*10000], 4096, digestOf(nil)), 4 << 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := mustUnframer(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := u.Unframe(tc.frame)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("Unframe() error = %v, want invalid", err)
			}
			if spent := after.TotalAlloc - before.TotalAlloc; spent > tc.limit {
				t.Errorf("%d bytes allocated, want at most %d", spent, tc.limit)
			}
		})
	}
}

// streamed compresses without writing the size into the frame.
func streamed(tb testing.TB, body []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	enc, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := enc.Write(body); err != nil {
		tb.Fatal(err)
	}
	if err := enc.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}
