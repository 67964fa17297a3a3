package alert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/fault"
)

// ConfigMapName is the name of the ConfigMap that holds the head of the journal. What does
// not fit into it stands in ConfigMaps of this name with a number, from 1.
const ConfigMapName = "o2ims-journal"

const (
	journalKey      = "journal.json.zst"
	maxChunkBytes   = 900_000  // of a ConfigMap; Kubernetes takes 1 MiB
	maxJournalBytes = 64 << 20 // of JSON, when it is read again
	maxSlots        = 20

	// writeTimeout bounds one call of the apiserver. Senders wait for it.
	writeTimeout = 10 * time.Second
)

// disk keeps the journal in ConfigMaps. Everything hangs on the head: a chunk counts only
// when the head refers to it, with its digest. Chunks are written first, to slots that the
// head does not use, so every write of the head is a step from one whole journal to the
// next. The head is written by compare-and-swap; who loses was not alone.
type disk struct {
	client    client.Client // does not cache
	namespace string

	head    *corev1.ConfigMap // as it was read or written last; no resourceVersion: it is not there
	slots   map[int]string    // resourceVersion of the chunks that are there
	unsure  []byte            // of a head whose write ended in doubt
	encoder *zstd.Encoder
	buffer  jsonText
}

// errForeign says that somebody else writes the journal.
var errForeign = fmt.Errorf("somebody else writes it: %w", fault.Conflict)

func newDisk(c client.Client, namespace string) (*disk, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(1<<20),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("compressor of the journal: %w", err)
	}
	return &disk{client: c, namespace: namespace, slots: make(map[int]string), encoder: enc}, nil
}

func (d *disk) name(slot int) string {
	if slot == 0 {
		return ConfigMapName
	}
	return ConfigMapName + "-" + strconv.Itoa(slot)
}

func (d *disk) fault(slot int, err error) error {
	kind := fault.Unavailable
	if errors.Is(err, fault.Conflict) {
		kind = fault.Conflict
	}
	return fmt.Errorf("ConfigMap %s/%s: %w: %w", d.namespace, d.name(slot), kind, err)
}

func (d *disk) get(ctx context.Context, slot int) (*corev1.ConfigMap, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var cm corev1.ConfigMap
	err := d.client.Get(ctx, client.ObjectKey{Namespace: d.namespace, Name: d.name(slot)}, &cm)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, d.fault(slot, err)
	}
	return &cm, nil
}

// load reads the head. found is false when there is none, or none that can be read.
func (d *disk) load(ctx context.Context) (h headDoc, found bool, err error) {
	cm, err := d.get(ctx, 0)
	if err != nil {
		return headDoc{}, false, err
	}
	for slot := 1; slot <= maxSlots; slot++ {
		chunk, err := d.get(ctx, slot)
		if err != nil {
			return headDoc{}, false, err
		}
		if chunk != nil {
			d.slots[slot] = chunk.ResourceVersion
		}
	}
	if cm == nil {
		d.head = d.object(0, "", nil)
		return headDoc{}, false, nil
	}
	d.head = cm
	if err := d.decode(cm.BinaryData[journalKey], &h); err != nil || h.V != journalVersion {
		slog.ErrorContext(ctx, "alert journal unreadable", "configMap", d.name(0), "version", h.V, "error", err)
		return headDoc{}, false, nil
	}
	return h, true, nil
}

// chunk reads what the head refers to. found is false when it is not what it should be.
func (d *disk) chunk(ctx context.Context, ref chunkRef, into any) (found bool, err error) {
	cm, err := d.get(ctx, ref.Slot)
	if err != nil || cm == nil {
		return false, err
	}
	data := cm.BinaryData[journalKey]
	if digest(data) != ref.SHA256 {
		return false, nil
	}
	return d.decode(data, into) == nil, nil
}

func (d *disk) object(slot int, version string, data []byte) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: d.namespace, Name: d.name(slot), ResourceVersion: version,
			Labels: map[string]string{"app.kubernetes.io/name": "o2ims", "app.kubernetes.io/component": "agent"},
		},
		BinaryData: map[string][]byte{journalKey: data},
	}
}

// put creates or replaces an object whose resourceVersion is the one that we know.
func (d *disk) put(ctx context.Context, cm *corev1.ConfigMap) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if cm.ResourceVersion == "" {
		return d.client.Create(ctx, cm)
	}
	return d.client.Update(ctx, cm)
}

// writeHead makes data the head. The error wraps fault.Conflict when somebody else has
// written it, and errDoubt when it is not known whether the write has happened: then
// nothing more may be written until resolve has found out. Otherwise it has not.
func (d *disk) writeHead(ctx context.Context, data []byte) error {
	var err error
	for range 2 {
		cm := d.object(0, d.head.ResourceVersion, data)
		if err = d.put(ctx, cm); err == nil {
			d.head = cm
			return nil
		}
		// A write may have happened though the answer got lost, and a conflict may be with
		// ourselves, or with somebody who only put a label on the object.
		d.unsure = data
		taken, resolveErr := d.resolve(ctx)
		if taken || resolveErr != nil {
			return resolveErr
		}
		if !apierrors.IsConflict(err) {
			break
		}
	}
	return d.fault(0, err)
}

// errDoubt says that it is not known whether the last write has happened.
var errDoubt = errors.New("the last write ended in doubt")

// resolve reads the head, and tells whether the write in doubt is in it.
func (d *disk) resolve(ctx context.Context) (taken bool, err error) {
	cm, err := d.get(ctx, 0)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errDoubt, err)
	}
	switch {
	case cm == nil && d.head.ResourceVersion == "":
		d.unsure = nil
		return false, nil
	case cm == nil: // somebody deleted it: the next write makes it again
		d.unsure, d.head = nil, d.object(0, "", nil)
		return false, nil
	case slices.Equal(cm.BinaryData[journalKey], d.unsure):
		d.unsure, d.head = nil, cm
		return true, nil
	case slices.Equal(cm.BinaryData[journalKey], d.head.BinaryData[journalKey]): // only metadata changed
		d.unsure, d.head = nil, cm
		return false, nil
	}
	return false, d.fault(0, errForeign)
}

// writeChunk writes data to a slot that the head does not refer to.
func (d *disk) writeChunk(ctx context.Context, slot int, data []byte) (chunkRef, error) {
	ref := chunkRef{Slot: slot, SHA256: digest(data), Bytes: len(data)}
	cm := d.object(slot, d.slots[slot], data)
	err := d.put(ctx, cm)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		// It is a leftover that another agent has touched, or an earlier write of ours.
		// As long as the head is ours, so is the slot.
		if err := d.mine(ctx); err != nil {
			return ref, err
		}
		old, getErr := d.get(ctx, slot)
		if getErr != nil {
			return ref, getErr
		}
		cm = d.object(slot, "", data)
		if old != nil {
			cm.ResourceVersion = old.ResourceVersion
		}
		err = d.put(ctx, cm)
	}
	if err != nil {
		return ref, d.fault(slot, err)
	}
	d.slots[slot] = cm.ResourceVersion
	return ref, nil
}

// mine tells by an error when the head is not the one that we wrote.
func (d *disk) mine(ctx context.Context) error {
	cm, err := d.get(ctx, 0)
	if err != nil {
		return err
	}
	if cm != nil && !slices.Equal(cm.BinaryData[journalKey], d.head.BinaryData[journalKey]) {
		return d.fault(0, errForeign)
	}
	return nil
}

// sweep deletes chunks that the head does not refer to. What stays behind does no harm.
func (d *disk) sweep(ctx context.Context, used map[int]bool) {
	for slot, version := range d.slots {
		if used[slot] {
			continue
		}
		callCtx, cancel := context.WithTimeout(ctx, writeTimeout)
		err := d.client.Delete(callCtx, d.object(slot, "", nil), client.Preconditions{ResourceVersion: &version})
		cancel()
		if err != nil && !apierrors.IsNotFound(err) {
			slog.WarnContext(ctx, "chunk of the alert journal not deleted", "configMap", d.name(slot), "error", err)
			continue
		}
		delete(d.slots, slot)
	}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// maxKeptBuffer is how much room for JSON an idle journal keeps.
const maxKeptBuffer = 512 << 10

func (d *disk) encode(doc document) []byte {
	text := doc.appendJSON(d.buffer[:0])
	if d.buffer = nil; cap(text) <= maxKeptBuffer {
		d.buffer = text
	}
	return d.encoder.EncodeAll(text, make([]byte, 0, len(text)/6+256))
}

func (d *disk) decode(data []byte, into any) error {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxJournalBytes))
	if err != nil {
		return err
	}
	defer dec.Close()
	text, err := dec.DecodeAll(data, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
