package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/o2ims/o2ims/test/ocloud"
)

func envFile(dir string) string { return filepath.Join(dir, "env") }

// writeEnv writes .demo/env, which a shell reads with `source .demo/env`. It holds
// tokens, so only its owner may read it.
func (d *demo) writeEnv(ctx context.Context) error {
	admin, err := d.Token(ctx, "test-client")
	if err != nil {
		return err
	}
	reader, err := d.Token(ctx, "test-reader")
	if err != nil {
		return err
	}
	ca := filepath.Join(d.dir, "ca.crt")
	if err := os.WriteFile(ca, d.CA, 0o644); err != nil {
		return err
	}
	bin, err := d.linkPrograms()
	if err != nil {
		return err
	}
	variables := [][2]string{
		{"O2IMS_URL", d.URL}, {"O2IMS_CA", ca}, {"O2IMS_TOKEN", admin}, {"O2IMS_TOKEN_READER", reader},
		{"HUB_KUBECONFIG", d.Env.Hub.Kubeconfig()},
		{"SMO_URL", d.trust.SMO.URL}, {"SMO_CA", d.trust.SMO.CAFile}, {"SMO_JOURNAL", d.trust.SMO.Journal}, {"REDIS_URL", d.Redis.URL()},
		{"ISSUER_URL", d.trust.Issuer.Issuer}, {"ISSUER_CA", d.trust.File("issuer-ca.crt")},
		{"CALLER_ID", ocloud.ClientOperator}, {"CALLER_SECRET", ocloud.OperatorSecret},
		{"CALLER_CERT", d.trust.File("caller.crt")}, {"CALLER_KEY", d.trust.File("caller.key")},
		{"SPOKE2_R610", d.Spoke(d.spokes[1]).Machine("r610").Root},
	}
	for _, name := range d.spokes {
		prefix, m := strings.ToUpper(name), d.monitoring[name]
		variables = append(variables, [2]string{prefix + "_KUBECONFIG", d.Spoke(name).Kubeconfig()},
			[2]string{prefix + "_ALERTMANAGER", m.Alertmanager}, [2]string{prefix + "_PROMETHEUS", m.Prometheus})
	}
	var text strings.Builder
	text.WriteString("# The demo that runs: source this file. Written anew by every demo.\n")
	for _, v := range variables {
		fmt.Fprintf(&text, "export %s=%s\n", v[0], quote(v[1]))
	}
	fmt.Fprintf(&text, "export PATH=%s:\"$PATH\"\n", quote(bin))
	return os.WriteFile(envFile(d.dir), []byte(text.String()), 0o600)
}

// quote makes a word for the shell of any text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// linkPrograms puts kubectl, clusteradm, o2ims and demo, as built here, into one folder.
func (d *demo) linkPrograms() (string, error) {
	bin := filepath.Join(d.dir, "bin")
	if err := errors.Join(os.RemoveAll(bin), os.MkdirAll(bin, 0o755)); err != nil {
		return "", err
	}
	return bin, errors.Join(
		os.Symlink(d.Env.KubePath(), filepath.Join(bin, "kubectl")),
		os.Symlink(d.Env.ClusteradmPath(), filepath.Join(bin, "clusteradm")),
		os.Symlink(filepath.Join(filepath.Dir(d.dir), "bin", "o2ims"), filepath.Join(bin, "o2ims")),
		os.Symlink(filepath.Join(filepath.Dir(d.dir), "bin", "demo"), filepath.Join(bin, "demo")),
	)
}
