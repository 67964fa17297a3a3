package rest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"

	"github.com/o2ims/o2ims/pkg/fault"
)

const jsonType = "application/json"

// Encode returns v as JSON. Unlike json.Marshal it leaves <, > and & as they are: our
// answers are no part of a web page.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// WriteJSON answers with v.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	body, err := Encode(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return WriteEncoded(w, status, body)
}

// WriteEncoded answers with a body that is JSON already.
func WriteEncoded(w http.ResponseWriter, status int, body []byte) error {
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone; there is nobody else to tell
	return nil
}

// WriteCacheable answers with v, which the client need not be sent again while it has it.
func WriteCacheable(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := Encode(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	if unmodified(w, r, DigestOf(body)) {
		return nil
	}
	return WriteEncoded(w, http.StatusOK, body)
}

// listBufferBytes is how much of a list is collected before it is sent.
const listBufferBytes = 32 << 10

// WriteList answers with an array of records that are JSON already. They are copied, never
// encoded anew. An error of the sequence before its first record is returned; after that
// the answer has begun, so the connection is broken off: half a list must not look whole.
func WriteList(w http.ResponseWriter, records iter.Seq2[[]byte, error]) error {
	out := bufio.NewWriterSize(w, listBufferBytes)
	begun := false
	begin := func() {
		w.Header().Set("Content-Type", jsonType)
		_ = out.WriteByte('[')
		begun = true
	}
	for record, err := range records {
		switch {
		case err != nil && begun:
			panic(http.ErrAbortHandler)
		case err != nil:
			return err
		case begun:
			_ = out.WriteByte(',')
		default:
			begin()
		}
		if _, err := out.Write(record); err != nil {
			return nil // the client is gone
		}
	}
	if !begun {
		begin()
	}
	_ = out.WriteByte(']')
	_ = out.Flush()
	return nil
}

// ReadJSON decodes the body of a request. The error wraps fault.Invalid when the body is
// not JSON of the right shape or has attributes that v does not know, and fault.TooLarge
// when it is longer than MaxBodyBytes.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxBodyBytes))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, trailing := d.Token(); trailing != io.EOF { //nolint:errorlint // Token returns io.EOF itself
			err = errors.New("something follows the JSON value")
			if e := new(http.MaxBytesError); errors.As(trailing, &e) {
				err = trailing
			}
		}
	}
	if err == nil {
		return nil
	}
	if e := new(http.MaxBytesError); errors.As(err, &e) {
		return fmt.Errorf("request body of more than %d bytes: %w", e.Limit, fault.TooLarge)
	}
	return fmt.Errorf("request body: %w: %w", err, fault.Invalid)
}
