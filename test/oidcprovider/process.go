package oidcprovider

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/o2ims/o2ims/test/child"
)

const (
	startTimeout = 60 * time.Second // a machine that compiles on all its cores is slow
	stopTimeout  = 10 * time.Second
)

// process is a running hack/oidc/provider.mjs.
type process struct {
	*child.Process
	news chan news // each configuration that came into force; closed when no more can come
}

// news is a line that the provider prints when a configuration is in force.
type news struct {
	Configuration int    `json:"configuration"`
	Address       string `json:"address"`
}

func spawn(node string, args []string, dir string) (*process, error) {
	cmd := exec.Command(node, args...)
	cmd.Dir = dir
	// No proxies, and no NODE_OPTIONS of whoever started us.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "NODE_ENV=production"}
	said, stdout, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdout.Close() // the child has its own
	cmd.Stdout = stdout
	p := &process{news: make(chan news, 64)}
	if p.Process, err = child.Run(cmd, filepath.Join(dir, "provider.log")); err != nil {
		said.Close()
		return nil, err
	}
	go p.follow(said)
	return p, nil
}

// follow reads what the provider says until its end.
func (p *process) follow(said io.ReadCloser) {
	defer close(p.news)
	defer said.Close()
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		var n news
		if json.Unmarshal(lines.Bytes(), &n) == nil {
			p.news <- n
		}
	}
}

// wait returns the address of the provider once a configuration is in force.
func (p *process) wait(ctx context.Context, configuration int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		select {
		case n, more := <-p.news:
			if !more {
				<-p.Done()
				return "", fmt.Errorf("%w\n%s", p.Ended(), p.LogTail())
			}
			if n.Configuration == configuration {
				return n.Address, nil
			}
		case <-ctx.Done():
			return "", fmt.Errorf("configuration %d is not in force: %w\n%s", configuration, ctx.Err(), p.LogTail())
		}
	}
}
