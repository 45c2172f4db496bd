package mesos

import (
	"slices"
	"strings"

	v1 "clusterd/node/mesos/v1"
)

// DefaultRole is the role of unreserved resources and of frameworks that name none.
const DefaultRole = "*"

// RoleError says why a text is not a role name. The texts are those of SCH-58.
type RoleError struct{ Reason string }

// Error returns the reason alone; callers put the name of the field in front.
func (e *RoleError) Error() string { return e.Reason }

// ValidateRole checks the name of a role, which is a path of components separated by slashes
// (SCH-58). A failure is a *RoleError.
func ValidateRole(role string) error {
	switch {
	case role == DefaultRole:
		return nil
	case role == "":
		return &RoleError{"Role names cannot be the empty string"}
	case strings.HasPrefix(role, "/"):
		return &RoleError{"Role '" + role + "' cannot start with a slash"}
	case strings.HasSuffix(role, "/"):
		return &RoleError{"Role '" + role + "' cannot end with a slash"}
	case strings.Contains(role, "//"):
		return &RoleError{"Role '" + role + "' cannot contain two adjacent slashes"}
	}
	for component := range strings.SplitSeq(role, "/") {
		switch {
		case component == "." || component == ".." || component == DefaultRole:
			return &RoleError{"Role '" + role + "' cannot include '" + component + "' as a component"}
		case component[0] == '-':
			return &RoleError{"Role component '" + component + "' is invalid because it starts with a dash"}
		case strings.ContainsAny(component, "\t\n\v\f\r \x7f"):
			return &RoleError{"Role component '" + component + "' is invalid because it contains backspace or whitespace"}
		}
	}
	return nil
}

// HasCapability reports whether the framework declares the capability.
func HasCapability(info *v1.FrameworkInfo, capability v1.FrameworkInfo_Capability_Type) bool {
	return slices.ContainsFunc(info.GetCapabilities(), func(c *v1.FrameworkInfo_Capability) bool {
		return c.GetType() == capability
	})
}

// Roles returns the roles a framework subscribes with: FrameworkInfo.roles with the MULTI_ROLE
// capability, else the one in FrameworkInfo.role, which defaults to "*". The slice belongs to the
// caller; order and duplicates are those of the message.
func Roles(info *v1.FrameworkInfo) []string {
	if HasCapability(info, v1.FrameworkInfo_Capability_MULTI_ROLE) {
		return slices.Clone(info.GetRoles())
	}
	return []string{info.GetRole()}
}
