package store

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/redis/go-redis/v9"
)

// Documents of more than packAbove bytes are kept compressed: a server with its elements
// in two versions is 50 kB of JSON and 3 kB of zstd, and there may be 10,000 of them.
const packAbove = 256

// maxDocumentBytes bounds what a damaged or foreign record can make us allocate.
const maxDocumentBytes = 16 << 20

var (
	encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	decoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDocumentBytes))
)

// pack returns a document as it is kept. JSON never begins like a frame of zstd does, so
// unpack can tell.
func pack(document []byte) []byte {
	if len(document) <= packAbove {
		return document
	}
	return encoder.EncodeAll(document, nil)
}

func unpack(packed string) ([]byte, error) {
	const magic = "\x28\xb5\x2f\xfd"
	if len(packed) < len(magic) || packed[:len(magic)] != magic {
		return []byte(packed), nil
	}
	document, err := decoder.DecodeAll([]byte(packed), nil)
	if err != nil {
		return nil, fmt.Errorf("stored document: %w", err)
	}
	return document, nil
}

func isNil(err error) bool { return errors.Is(err, redis.Nil) }
