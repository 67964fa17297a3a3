package alarm

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/o2ims/o2ims/pkg/report"
)

// BenchmarkIngest applies reports of 100 transitions to a real Redis with appendfsync
// always: half of them raise an alarm and half clear one.
func BenchmarkIngest(b *testing.B) {
	h := newHub(b, startRedis(b).URL())
	spokes := make([]*spoke, 50)
	for i := range spokes {
		spokes[i] = newSpoke(fmt.Sprintf("edge-%d", i))
	}
	alarms := 0
	for n := 0; b.Loop(); n++ {
		s := spokes[n%len(spokes)]
		s.journal, s.acked = nil, 0
		s.epoch = fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
		for i := range 50 {
			s.add(report.Fired, i)
			s.add(report.Resolved, i)
		}
		if _, err := h.ingest.Apply(b.Context(), s.report()); err != nil {
			b.Fatal(err)
		}
		alarms += 100
	}
	b.ReportMetric(float64(alarms)/b.Elapsed().Seconds(), "transitions/s")
}

// BenchmarkIngestOne applies reports of one transition, as of an isolated alert.
func BenchmarkIngestOne(b *testing.B) {
	h, s := newHub(b, startRedis(b).URL()), newSpoke("edge-1")
	for b.Loop() {
		kind := report.Fired
		if len(s.open) > 0 {
			kind = report.Resolved
		}
		s.add(kind, 1)
		result, err := h.ingest.Apply(b.Context(), s.report())
		if err != nil {
			b.Fatal(err)
		}
		s.heed(result.Answer)
		s.journal = s.journal[len(s.journal)-1:]
	}
}

// BenchmarkPage reads 100,000 records in pages of 10,000.
func BenchmarkPage(b *testing.B) {
	const records = 100_000
	server := startRedis(b)
	h := newHub(b, server.URL())
	used := memoryOf(b, server.Addr())
	for c := range 100 {
		s := newSpoke(fmt.Sprintf("edge-%d", c))
		s.window = 1000
		for i := range records / 100 {
			s.add(report.Fired, i%900)
			s.add(report.Resolved, i%900)
			if i%400 == 399 {
				applyAll(b, h, s)
			}
		}
		applyAll(b, h, s)
	}
	c := redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true})
	defer c.Close()
	if err := c.Del(b.Context(), "{o2}:events").Err(); err != nil {
		b.Fatal(err)
	}
	perRecord := float64(memoryOf(b, server.Addr())-used) / records
	for b.Loop() {
		n := 0
		var after Place
		for {
			page, err := h.records.Page(b.Context(), after, 10_000)
			if err != nil {
				b.Fatal(err)
			}
			n += len(page)
			if len(page) < 10_000 {
				break
			}
			after = Place{page[len(page)-1].Raised, page[len(page)-1].ID}
		}
		if n != records {
			b.Fatalf("%d records, want %d", n, records)
		}
	}
	b.ReportMetric(perRecord, "B/record")
	b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/records, "ns/record")
}

func applyAll(b *testing.B, h *hub, s *spoke) {
	b.Helper()
	for s.acked < s.end() {
		result, err := h.ingest.Apply(b.Context(), s.report())
		if err != nil {
			b.Fatal(err)
		}
		s.heed(result.Answer)
	}
	s.journal = s.journal[len(s.journal)-1:]
}

// memoryOf is what Redis uses for data.
func memoryOf(b *testing.B, addr string) int64 {
	b.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true, ReadTimeout: 10 * time.Second})
	defer c.Close()
	info, err := c.Info(b.Context(), "memory").Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if text, is := strings.CutPrefix(strings.TrimSpace(line), "used_memory_dataset:"); is {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("Redis does not tell how much memory it uses")
	return 0
}
