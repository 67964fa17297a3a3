package alert

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/o2ims/o2ims/pkg/fault"
)

// maxBookBytes is how much text a book has that goes along with every write. Above it the
// book is written to chunks of its own, and the head says what came after.
const maxBookBytes = 128 << 10

// persist writes the state. When somebody has deleted the head, all of it is written anew.
func (j *Journal) persist(ctx context.Context) error {
	there := j.disk.head.ResourceVersion != ""
	err := j.persistOnce(ctx)
	if err != nil && there && j.disk.head.ResourceVersion == "" {
		slog.WarnContext(ctx, "the alert journal was deleted and is written again", "configMap", ConfigMapName)
		err = j.persistOnce(ctx)
	}
	return err
}

// persistOnce writes the head, and before it what has to move out of the head.
func (j *Journal) persistOnce(ctx context.Context) error {
	s := &j.state
	if j.disk.head.ResourceVersion == "" { // nothing is there, whatever we wrote before
		s.chunks, s.bookChunks, s.bookEnd = nil, nil, 0
	}
	s.writes++
	s.book.bury(j.options.Clock.Now().UnixMilli())
	s.trim()

	large := s.book.large()
	if !large {
		s.bookChunks, s.bookEnd = nil, 0
	}
	data, rolled, err := j.head(ctx, large)
	if err != nil {
		return err
	}
	if err := j.disk.writeHead(ctx, data); err != nil {
		return err
	}
	if used := slotsOf(s.chunks, s.bookChunks); rolled || len(j.disk.slots) > len(used) {
		j.disk.sweep(ctx, used)
	}
	return nil
}

// head is the head as it is to be written. rolled tells whether chunks were written for it.
func (j *Journal) head(ctx context.Context, large bool) (data []byte, rolled bool, err error) {
	data = j.disk.encode(j.headDoc(large))
	if len(data) > maxHeadBytes || len(j.state.inHead()) > maxHeadEntries || large && j.state.bookEnd == 0 {
		if err := j.roll(ctx, large); err != nil {
			return nil, false, err
		}
		rolled = true
		data = j.disk.encode(j.headDoc(large))
	}
	if len(data) > maxChunkBytes {
		return nil, false, fmt.Errorf("%d bytes do not fit into ConfigMap %s: %w", len(data), ConfigMapName, fault.TooLarge)
	}
	return data, rolled, nil
}

func (j *Journal) headDoc(large bool) headDoc {
	s := &j.state
	h := headDoc{Log: logDocOf(s.inHead()), headFigures: headFigures{
		V: journalVersion, Writer: j.writer, Writes: s.writes, Epoch: s.epoch, Store: s.store,
		End: s.end, Acked: s.acked, Published: s.published, Compacted: s.compacted, Dropped: s.dropped,
		Chunks: s.chunks, BookChunks: s.bookChunks, BookEnd: s.bookEnd,
	}}
	if !large {
		book := bookDocOf(s.book.episodes(), s.book.ended)
		h.Book = &book
	}
	return h
}

// inHead is the part of the log that is in no chunk.
func (s *state) inHead() []*entry { return s.log[s.inChunks():] }

func (s *state) inChunks() int {
	n := 0
	for _, c := range s.chunks {
		n += c.Count
	}
	return n
}

// large tells whether the book has more than goes along with every write.
func (b *Book) large() bool {
	bytes := 80 * len(b.ended)
	for _, e := range b.open {
		bytes += 120 + len(e.text.GeneratorURL)
		for _, m := range []map[string]string{e.text.Labels, e.text.Annotations} {
			for k, v := range m {
				bytes += len(k) + len(v) + 6
			}
		}
		if bytes > maxBookBytes {
			return true
		}
	}
	return bytes > maxBookBytes
}

// roll moves the log, and a large book, out of the head.
func (j *Journal) roll(ctx context.Context, large bool) error {
	s := &j.state
	budget := j.options.Budget
	if s.logBytes()+maxHeadBytes > budget/10*7 {
		j.compact(ctx)
	}
	w := slotWriter{disk: j.disk, used: slotsOf(s.staged.chunks, s.staged.bookChunks, s.chunks, s.bookChunks)}
	if err := j.rollLog(ctx, &w); err != nil {
		return err
	}
	if s.logBytes() > budget {
		return fmt.Errorf("the journal is full, with %d transitions in %d bytes: %w", len(s.log), s.logBytes(), fault.TooLarge)
	}
	if !large {
		return nil
	}
	refs, err := w.book(ctx, s.book.episodes(), s.book.ended)
	if err != nil {
		return err
	}
	s.bookChunks, s.bookEnd = refs, s.end
	return nil
}

// rollLog makes chunks of what the head has, together with the last chunk when that is
// still small.
func (j *Journal) rollLog(ctx context.Context, w *slotWriter) error {
	s := &j.state
	if len(s.inHead()) == 0 {
		return nil
	}
	from, chunks := s.inChunks(), slices.Clone(s.chunks)
	if n := len(chunks); n > 0 && chunks[n-1].Bytes < maxChunkBytes/2 && chunks[n-1].Count < maxChunkEntries {
		from -= chunks[n-1].Count
		chunks = chunks[:n-1]
	}
	if from == 0 { // all of it is written anew: without what nobody needs
		s.log = s.log[max(0, s.excess()):]
	}
	refs, err := w.log(ctx, s.log[from:])
	if err != nil {
		return err
	}
	s.chunks = append(chunks, refs...)
	return nil
}

func (s *state) logBytes() int {
	n := 0
	for _, c := range s.chunks {
		n += c.Bytes
	}
	return n
}

func slotsOf(lists ...[]chunkRef) map[int]bool {
	used := make(map[int]bool)
	for _, list := range lists {
		for _, ref := range list {
			used[ref.Slot] = true
		}
	}
	return used
}

// slotWriter writes chunks to slots that nothing refers to.
type slotWriter struct {
	disk *disk
	used map[int]bool
}

func (w *slotWriter) write(ctx context.Context, data []byte) (chunkRef, error) {
	for slot := 1; slot <= maxSlots; slot++ {
		if !w.used[slot] {
			w.used[slot] = true
			return w.disk.writeChunk(ctx, slot, data)
		}
	}
	return chunkRef{}, fmt.Errorf("all %d ConfigMaps are in use: %w", maxSlots, fault.TooLarge)
}

// log writes entries, in as many chunks as it takes.
func (w *slotWriter) log(ctx context.Context, entries []*entry) ([]chunkRef, error) {
	data := w.disk.encode(logDocOf(entries))
	if len(data) > maxChunkBytes && len(entries) > 1 {
		half := len(entries) / 2
		return both(func() ([]chunkRef, error) { return w.log(ctx, entries[:half]) },
			func() ([]chunkRef, error) { return w.log(ctx, entries[half:]) })
	}
	ref, err := w.write(ctx, data)
	ref.Count = len(entries)
	return []chunkRef{ref}, err
}

func (w *slotWriter) book(ctx context.Context, open []*episode, ended map[string]tombstone) ([]chunkRef, error) {
	data := w.disk.encode(bookDocOf(open, ended))
	if len(data) > maxChunkBytes && len(open) > 1 {
		half := len(open) / 2
		return both(func() ([]chunkRef, error) { return w.book(ctx, open[:half], ended) },
			func() ([]chunkRef, error) { return w.book(ctx, open[half:], nil) })
	}
	ref, err := w.write(ctx, data)
	return []chunkRef{ref}, err
}

func both(first, second func() ([]chunkRef, error)) ([]chunkRef, error) {
	refs, err := first()
	if err != nil {
		return nil, err
	}
	more, err := second()
	return append(refs, more...), err
}

// compact makes the log shorter because the hub has been away for long, in this order: what
// the hub has anyway goes; closed episodes lose their annotations; transitions of one
// episode become one; of one alert's closed episodes the first and the last stay. What the
// hub may have seen already, and what is open, stays as it is.
func (j *Journal) compact(ctx context.Context) {
	s := &j.state
	before := s.logBytes()
	if before < j.compactAgain {
		return
	}
	keep := s.fresh()
	rest := s.after(max(s.acked, s.published))
	seen := keep[:len(keep)-len(rest)]

	shorter, merged := rest, uint64(0)
	for _, reduce := range reductions() {
		var n uint64
		shorter, n = reduce(shorter)
		merged += n
		s.log = append(slices.Clone(seen), shorter...)
		if j.sizeOf(s.log) < j.options.Budget/2 {
			break
		}
	}
	s.chunks = nil
	s.compacted += merged
	j.compactAgain = j.sizeOf(s.log) + j.options.Budget/10
	slog.WarnContext(ctx, "alert journal compacted", "merged", merged, "transitions", len(s.log), "bytesBefore", before)
}

// sizeOf is how many bytes of chunks these entries take.
func (j *Journal) sizeOf(entries []*entry) int {
	return len(j.disk.encode(logDocOf(entries)))
}

func cloned(dropped map[string]uint64) map[string]uint64 {
	if dropped == nil {
		return make(map[string]uint64)
	}
	return maps.Clone(dropped)
}
