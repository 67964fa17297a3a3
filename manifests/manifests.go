// Package manifests holds what runs on a spoke: the agent, the node probe, and exactly
// the permissions that each needs. pkg/addon renders it for one managed cluster, and OCM
// carries the result there in a ManifestWork.
//
// One file holds one object, because the template builder of addon-framework decodes one
// object per file; a file whose condition is false renders to nothing and is skipped. The
// numbers in the names are the order in which the klusterlet applies them: whatever others
// stand on comes first, so that nothing has to be tried twice.
//
// The templates get no function for YAML or JSON. So pkg/addon hands structured values in
// as JSON (which is YAML), and strings go through printf "%q": a value from an
// AddOnDeploymentConfig can then never become structure.
package manifests

import "embed"

// Agent is the folder of the templates in FS.
const Agent = "agent"

// FS holds the templates below Agent.
//
//go:embed agent/*.yaml
var FS embed.FS
