package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/o2ims/o2ims/pkg/fault"
)

// Object reads a JSON object; field is called with each key and must read the value. An
// error wraps fault.Invalid unless it is field's own.
func Object(d *json.Decoder, field func(key string) error) error {
	if err := open(d, '{'); err != nil {
		return err
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return invalid(err)
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("JSON: offset %d: %v where a name should be: %w", d.InputOffset(), token, fault.Invalid)
		}
		if err := field(key); err != nil {
			return err
		}
	}
	return closing(d)
}

// Array reads a JSON array and hands out its elements one at a time: never more than one
// is held. null is an array without elements. An error wraps fault.Invalid unless it is
// element's own.
func Array(d *json.Decoder, element func(json.RawMessage) error) error {
	token, err := d.Token()
	if err != nil {
		return invalid(err)
	}
	if token == nil {
		return nil
	}
	if token != json.Delim('[') {
		return fmt.Errorf("JSON: offset %d: %v where [ should be: %w", d.InputOffset(), token, fault.Invalid)
	}
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return invalid(err)
		}
		if err := element(raw); err != nil {
			return err
		}
	}
	return closing(d)
}

// Data reads an answer of Prometheus and hands out the elements of one list in its data.
//
// Source: Prometheus HTTP API, format overview.
func Data(d *json.Decoder, list string, element func(json.RawMessage) error) error {
	return Object(d, func(key string) error {
		if key != "data" {
			return Skip(d)
		}
		return Object(d, func(key string) error {
			if key != list {
				return Skip(d)
			}
			return Array(d, element)
		})
	})
}

// Value reads a value of known shape.
func Value(d *json.Decoder, to any) error {
	if err := d.Decode(to); err != nil {
		return invalid(err)
	}
	return nil
}

// Skip reads a value and forgets it.
func Skip(d *json.Decoder) error {
	var raw json.RawMessage
	return Value(d, &raw)
}

func open(d *json.Decoder, want json.Delim) error {
	token, err := d.Token()
	if err != nil {
		return invalid(err)
	}
	if token != want {
		return fmt.Errorf("JSON: offset %d: %v where %v should be: %w", d.InputOffset(), token, want, fault.Invalid)
	}
	return nil
}

func closing(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return invalid(err)
	}
	return nil
}

func invalid(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("JSON: %w: %w", err, fault.Invalid)
}
