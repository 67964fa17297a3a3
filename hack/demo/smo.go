package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"

	"github.com/o2ims/o2ims/test/harness"
)

// startSMO plays the SMO that the O-Cloud tells of changes.
func (d *demo) startSMO(ctx context.Context) error {
	port, err := d.Env.FreePort()
	if err != nil {
		return err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	d.smoURL = "http://" + address
	_, err = d.Env.StartProcess(ctx, harness.ProcessSpec{
		Name: "smo", Path: d.Binary(), Args: []string{"smo", "--listen", address, "--journal", d.smoJournal()},
		Ready: func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.smoURL+"/journal", nil)
			if err != nil {
				return err
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			return response.Body.Close()
		},
	})
	if err != nil {
		return fmt.Errorf("SMO: %w", err)
	}
	fmt.Printf("         an SMO listens at %s\n", d.smoURL)
	return nil
}

func (d *demo) smoJournal() string { return filepath.Join(d.Env.Dir(), "smo.jsonl") }
