package smo

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		status int
		header string // "-": none
		want   time.Duration
	}{
		{429, "7", 7 * time.Second}, {503, "7", 7 * time.Second}, {503, "0", 0}, {503, "007", 7 * time.Second},
		{500, "7", 0}, {200, "7", 0}, {301, "7", 0}, {502, "7", 0}, {503, "-", 0}, {503, "", 0},
		{503, "Sun, 22 Nov 2026 10:00:30 GMT", 30 * time.Second},
		{503, "Sunday, 22-Nov-26 10:00:30 GMT", 30 * time.Second}, // obsolete, and to be understood: RFC 9110, 5.6.7
		{503, "Sun Nov 22 10:00:30 2026", 30 * time.Second},
		{503, "Sun, 22 Nov 2026 09:00:00 GMT", 0}, {503, "Sun, 22 Nov 2026 10:00:00 GMT", 0},
		{503, "Sun, 22 Nov 9999 10:00:00 GMT", time.Hour},
		{503, "3599", time.Hour - time.Second}, {503, "3601", time.Hour}, {503, "99999999", time.Hour},
		{503, "9223372037", time.Hour}, {503, strings.Repeat("9", 1000), time.Hour},
		{503, "-1", 0}, {503, "+1", 0}, {503, "1.5", 0}, {503, "1e3", 0}, {503, "0x10", 0}, {503, "1_000", 0}, {503, "soon", 0}, {503, "7 s", 0}, {503, "٧", 0},
	} {
		r := &http.Response{StatusCode: tc.status, Header: http.Header{}}
		if tc.header != "-" {
			r.Header.Set("Retry-After", tc.header)
		}
		if got := RetryAfter(r, now, time.Hour); got != tc.want {
			t.Errorf("RetryAfter(%d, %.40q) = %s, want %s", tc.status, tc.header, got, tc.want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, text := range []string{"", "0", "120", "-1", "18446744073709551616", "Fri, 31 Dec 1999 23:59:59 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 22 Nov 9999 10:00:00 GMT"} {
		f.Add(text, int64(1_800_000_000))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		now := time.Unix(unix%(1<<40), 0).UTC()
		wait := parseRetryAfter(text, now)
		if wait < 0 {
			t.Fatalf("%q: %s", text, wait)
		}
		if seconds, err := strconv.ParseUint(text, 10, 33); err == nil && wait != time.Duration(seconds)*time.Second {
			t.Errorf("%q: %s", text, wait)
		}
		// What it means survives being written in seconds, as we write it ourselves.
		whole := wait.Truncate(time.Second)
		if again := parseRetryAfter(strconv.FormatInt(int64(whole/time.Second), 10), now); again != whole {
			t.Errorf("%q: %s, and written as seconds %s", text, whole, again)
		}
		// And as a date, where there is one: four digits of a year.
		if at := now.Add(whole); whole > 0 && whole < math.MaxInt64-time.Second && at.Year() >= 0 && at.Year() < 10000 {
			if again := parseRetryAfter(at.Format(http.TimeFormat), now); again != whole {
				t.Errorf("%q: %s, and written as a date %s", text, whole, again)
			}
		}
	})
}
