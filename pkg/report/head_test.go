package report

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/o2ims/o2ims/pkg/fault"
)

const goodHead = "v=1 epoch=6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11 seq=7 observed=2026-11-22T10:00:00Z nodes=1 resources=24 detail=full " +
	"enc=zstd+base64 parts=1 raw=12168 bytes=2816 sha256=9f2b0c6c0e5a3c4b3e9f550a6f2f3b8a9f2b0c6c0e5a3c4b3e9f550a6f2f3b8a"

func TestHeadIsPrintedAsTheFormatSays(t *testing.T) {
	h := Head{
		Envelope: Envelope{
			V: 1, Epoch: "6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11", Seq: 7, Observed: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
			Parts: 1, Raw: 12168, Bytes: 2816, SHA256: "9f2b0c6c0e5a3c4b3e9f550a6f2f3b8a9f2b0c6c0e5a3c4b3e9f550a6f2f3b8a",
		},
		Nodes: 1, Resources: 24, Detail: DetailFull,
	}
	if got := h.String(); got != goodHead {
		t.Errorf("String() =\n%s, want\n%s", got, goodHead)
	}
	got, err := ParseHead(goodHead)
	if err != nil || got != h {
		t.Errorf("ParseHead() = %+v, %v, want %+v", got, err, h)
	}
}

func TestParseHead(t *testing.T) {
	without := func(key string) string {
		var kept []string
		for _, pair := range strings.Fields(goodHead) {
			if !strings.HasPrefix(pair, key+"=") {
				kept = append(kept, pair)
			}
		}
		return strings.Join(kept, " ")
	}
	with := func(key, value string) string {
		pairs := strings.Fields(goodHead)
		for i, pair := range pairs {
			if strings.HasPrefix(pair, key+"=") {
				pairs[i] = key + "=" + value
			}
		}
		return strings.Join(pairs, " ")
	}
	type testCase struct{ name, in, wantText, wantReason string }
	cases := []testCase{
		{name: "as it should be", in: goodHead},
		{name: "unknown key", in: goodHead + " later=x=y"},
		{name: "previous order", in: with("seq", "8")},
		{name: "empty", in: "", wantText: "key=value"},
		{name: "two blanks", in: strings.Replace(goodHead, " seq", "  seq", 1), wantText: "key=value"},
		{name: "line break", in: goodHead + "\n", wantText: "sha256"},
		{name: "too long", in: goodHead + " x=" + strings.Repeat("y", maxHeadBytes), wantText: "too long"},
		{name: "twice", in: goodHead + " seq=7", wantText: "seq"},
		{name: "unknown key twice", in: goodHead + " later=1 later=2", wantText: "later"},
		{name: "leading zero", in: with("seq", "07"), wantText: "seq"},
		{name: "negative", in: with("parts", "-1"), wantText: "parts"},
		{name: "beyond 31 bits", in: with("raw", "2147483648"), wantText: "raw"},
		{name: "beyond 64 bits", in: with("seq", "18446744073709551616"), wantText: "seq"},
		{name: "upper-case UUID", in: with("epoch", "6F0C6C0E-5A3C-4B3E-9F55-0A6F2F3B8A11"), wantText: "epoch"},
		{name: "UUID in braces", in: with("epoch", "{6f0c6c0e-5a3c-4b3e-9f55-0a6f2f3b8a11}"), wantText: "epoch"},
		{name: "not UTC", in: with("observed", "2026-11-22T10:00:00+01:00"), wantText: "observed"},
		{name: "no time", in: with("observed", "yesterday"), wantText: "observed"},
		{name: "other encoding", in: with("enc", "gzip+base64"), wantText: "enc"},
		{name: "unknown detail", in: with("detail", "some"), wantText: "detail"},
		{name: "short digest", in: with("sha256", "9f2b"), wantText: "sha256"},
		{name: "upper-case digest", in: with("sha256", strings.Repeat("A", 64)), wantText: "sha256"},
		{name: "future version", in: with("v", "2"), wantText: "version 2", wantReason: ReasonFutureVersion},
		{name: "future version of another form", in: "v=3 body=elsewhere", wantText: "version 3", wantReason: ReasonFutureVersion},
		{name: "version before the first", in: with("v", "0"), wantText: "version 0", wantReason: ReasonOldVersion},
	}
	for _, key := range []string{"v", "epoch", "seq", "observed", "nodes", "resources", "detail", "enc", "parts", "raw", "bytes", "sha256"} {
		cases = append(cases,
			testCase{name: "without " + key, in: without(key), wantText: key},
			testCase{name: "empty " + key, in: with(key, ""), wantText: key})
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseHead(tc.in)
			if tc.wantText == "" {
				if err != nil {
					t.Fatalf("ParseHead() error = %v, want none", err)
				}
				return
			}
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tc.wantText) {
				t.Fatalf("ParseHead() error = %v, want invalid and naming %q", err, tc.wantText)
			}
			want := tc.wantReason
			if want == "" {
				want = ReasonMalformed
			}
			if got := ReasonOf(err); got != want {
				t.Errorf("reason %s, want %s", got, want)
			}
		})
	}
}

func TestEachReasonIsListedAndFitsACondition(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons() {
		if seen[r] || r == "" || strings.Trim(r, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" {
			t.Errorf("reason %q is listed twice or is no reason", r)
		}
		seen[r] = true
	}
	if len(seen) != 8 {
		t.Errorf("%d reasons, want 8", len(seen))
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add(goodHead)
	f.Add(goodHead + " later=1")
	f.Add(strings.Replace(goodHead, "10:00:00Z", "10:00:00.123456789Z", 1))
	f.Add("v=2")
	f.Add("")
	f.Fuzz(func(t *testing.T, message string) {
		h, err := ParseHead(message)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("error %v is not invalid", err)
			}
			return
		}
		again, err := ParseHead(h.String())
		if err != nil || !reflect.DeepEqual(again, h) {
			t.Fatalf("printed and parsed again: %+v, %v, want %+v", again, err, h)
		}
	})
}
