package auth

import "slices"

// The roles of our APIs. Of what a JWT says these and nothing else become groups; ClusterRoles
// are bound to them.
const (
	RoleReader      = "o2ims-reader"
	RoleSubscriber  = "o2ims-subscriber"
	RoleMaintainer  = "o2ims-maintainer"
	RoleProvisioner = "o2ims-provisioner"
	RoleAdmin       = "o2ims-admin"
	RoleDeployer    = "o2ims-deployer"
)

// Roles returns the names of all roles.
func Roles() []string {
	return []string{RoleReader, RoleSubscriber, RoleMaintainer, RoleProvisioner, RoleAdmin, RoleDeployer}
}

func isRole(name string) bool {
	switch name {
	case RoleReader, RoleSubscriber, RoleMaintainer, RoleProvisioner, RoleAdmin, RoleDeployer:
		return true
	}
	return false
}

// roleScope is how a scope grants a role: role:o2ims-reader.
const roleScope = "role:"

// groups returns which of our roles these names mean, in order, each once. Whatever else an
// issuer says of a user is not ours to believe: system:masters is a name like any other.
func (s Issuer) groups(names []string) []string {
	var groups []string
	for _, name := range names {
		if !isRole(name) {
			name = s.RoleNames[name]
		}
		if isRole(name) && !slices.Contains(groups, name) {
			groups = append(groups, name)
		}
	}
	slices.Sort(groups)
	return groups
}
