package master

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

// validateFramework returns what is wrong with a FrameworkInfo and what comes with it, empty if
// nothing is (SCH-55 to SCH-63, SCH-67, SCH-68).
func (m *Master) validateFramework(info *v1.FrameworkInfo, suppressed []string, constraints *v1scheduler.OfferConstraints) string {
	if reason := m.validateInfo(info); reason != "" {
		return reason
	}
	return validateRoleSettings(info, suppressed, constraints)
}

// validateInfo checks the FrameworkInfo alone.
func (m *Master) validateInfo(info *v1.FrameworkInfo) string {
	for _, check := range []func(*v1.FrameworkInfo) string{
		validateRoles,
		validateFrameworkID,
		validateOfferFilters,
		validateFailoverTimeout,
		m.validateWhitelist,
		m.validateUser,
	} {
		if reason := check(info); reason != "" {
			return reason
		}
	}
	return ""
}

func validateRoles(info *v1.FrameworkInfo) string {
	if !mesos.HasCapability(info, v1.FrameworkInfo_Capability_MULTI_ROLE) {
		if len(info.GetRoles()) > 0 {
			return "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
		}
		if err := mesos.ValidateRole(info.GetRole()); err != nil {
			return "'FrameworkInfo.role' is not a valid role: " + err.Error()
		}
		return ""
	}
	if info.Role != nil {
		return "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
	}
	seen := make(map[string]int)
	for _, r := range info.GetRoles() {
		if err := mesos.ValidateRole(r); err != nil {
			return "'FrameworkInfo.roles' contains invalid role: " + err.Error()
		}
		seen[r]++
	}
	maps.DeleteFunc(seen, func(_ string, n int) bool { return n == 1 })
	if len(seen) > 0 {
		return "'FrameworkInfo.roles' contains duplicate items: " + braces(slices.Sorted(maps.Keys(seen)))
	}
	return ""
}

func validateFrameworkID(info *v1.FrameworkInfo) string {
	if id := info.GetId().GetValue(); id != "" {
		if err := mesos.ValidateID(id); err != nil {
			return err.Error()
		}
	}
	return ""
}

func validateOfferFilters(info *v1.FrameworkInfo) string {
	for _, role := range slices.Sorted(maps.Keys(info.GetOfferFilters())) {
		for _, q := range info.GetOfferFilters()[role].GetMinAllocatableResources().GetQuantities() {
			quantities := q.GetQuantities()
			if len(quantities) == 0 {
				return "Resource quantities must contain at least one quantity"
			}
			for _, name := range slices.Sorted(maps.Keys(quantities)) {
				switch v := quantities[name].GetValue(); {
				case math.IsNaN(v):
					return fmt.Sprintf("Invalid resource quantity for '%s': NaN not supported", name)
				case v < 0:
					return fmt.Sprintf("Invalid resource quantity for '%s': Negative values not supported", name)
				case math.IsInf(v, 0):
					return fmt.Sprintf("Invalid resource quantity for '%s': Infinite values not supported", name)
				}
			}
		}
	}
	return ""
}

func validateFailoverTimeout(info *v1.FrameworkInfo) string {
	v := info.GetFailoverTimeout()
	if ns := v * 1e9; !math.IsNaN(v) && ns < math.MaxInt64 && ns > math.MinInt64 {
		return ""
	}
	short := strconv.FormatFloat(v, 'g', 6, 64)
	switch {
	case math.IsInf(v, 1):
		short = "inf"
	case math.IsInf(v, -1):
		short = "-inf"
	case math.IsNaN(v):
		short = "nan"
	}
	return "The framework failover_timeout (" + short + ") is invalid"
}

// validateWhitelist keeps to --roles (SCH-59).
func (m *Master) validateWhitelist(info *v1.FrameworkInfo) string {
	if m.cfg.Roles == nil {
		return ""
	}
	var foreign []string
	for _, r := range mesos.Roles(info) {
		if r != mesos.DefaultRole && !slices.Contains(m.cfg.Roles, r) {
			foreign = append(foreign, r)
		}
	}
	if len(foreign) == 0 {
		return ""
	}
	slices.Sort(foreign)
	return "Roles " + braces(foreign) + " are not present in the master's --roles"
}

// validateUser keeps to --root_submissions (SCH-60). No user is the agent's own, which may be root.
func (m *Master) validateUser(info *v1.FrameworkInfo) string {
	if user := info.GetUser(); !m.cfg.RootSubmissions && (user == "root" || user == "") {
		return "User '" + user + "' is not allowed to run frameworks without --root_submissions set"
	}
	return ""
}

// validateRoleSettings checks what a framework says about its roles (SCH-67, SCH-68).
func validateRoleSettings(info *v1.FrameworkInfo, suppressed []string, constraints *v1scheduler.OfferConstraints) string {
	roles := mesos.Roles(info)
	var foreign []string
	for _, r := range suppressed {
		if !slices.Contains(roles, r) && !slices.Contains(foreign, r) {
			foreign = append(foreign, r)
		}
	}
	if len(foreign) > 0 {
		slices.Sort(foreign)
		return "Suppressed roles " + braces(foreign) + " are not contained in the set of roles"
	}
	for _, r := range slices.Sorted(maps.Keys(constraints.GetRoleConstraints())) {
		if !slices.Contains(roles, r) {
			return "Offer constraints specify `role_constraints` for a role '" + r + "'not contained in the set of roles"
		}
	}
	if _, err := compileConstraints(constraints); err != nil {
		return "Offer constraints are not valid: " + err.Error()
	}
	return ""
}

// braces lists names as Mesos prints sets.
func braces(names []string) string { return "{ " + strings.Join(names, ", ") + " }" }

// validatePrincipalUnchanged refuses another principal for a known framework (SCH-78).
func validatePrincipalUnchanged(before, now *v1.FrameworkInfo) string {
	if before.GetPrincipal() != now.GetPrincipal() || (before.Principal == nil) != (now.Principal == nil) {
		return "Changing framework's principal is not allowed."
	}
	return ""
}

// validateFrameworkUpdate checks an UPDATE_FRAMEWORK call (SCH-104).
func (m *Master) validateFrameworkUpdate(before, now *v1.FrameworkInfo, u *v1scheduler.Call_UpdateFramework) string {
	const update = "FrameworkInfo update is not valid: "
	if reason := m.validateInfo(now); reason != "" {
		return "Supplied FrameworkInfo is not valid: " + reason
	}
	if reason := validatePrincipalUnchanged(before, now); reason != "" {
		return update + reason
	}
	unsupported := func(field, from, to string) string {
		return fmt.Sprintf(update+"Updating 'FrameworkInfo.%s' is unsupported; attempted to update from '%s' to '%s'",
			field, from, to)
	}
	if before.GetUser() != now.GetUser() {
		return unsupported("user", before.GetUser(), now.GetUser())
	}
	if before.GetCheckpoint() != now.GetCheckpoint() {
		return unsupported("checkpoint", strconv.FormatBool(before.GetCheckpoint()), strconv.FormatBool(now.GetCheckpoint()))
	}
	if reason := validateRoleSettings(now, u.GetSuppressedRoles(), u.GetOfferConstraints()); reason != "" {
		return "'UpdateFramework' call is not valid: " + reason
	}
	return ""
}
