package master

import (
	"errors"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"time"

	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

// constraints are offer constraints made ready for use: for each role the groups of which one must
// match (SCH-208). Roles without an entry are unconstrained.
type constraints map[string][][]constraint

// constraint tests one attribute, or pseudo-attribute, of an agent.
type constraint struct {
	selects func(*v1.AgentInfo) *v1.Attribute // nil when the agent has none
	holds   func(*v1.Attribute) bool
}

// constraintRefusal is how long the allocator keeps an agent from a framework that excludes it. The
// filter ends before if constraints or attributes change.
const constraintRefusal = 24 * time.Hour

// admits reports whether an agent may be offered to the role.
func (c constraints) admits(role string, a *v1.AgentInfo) bool {
	groups, constrained := c[role]
	return !constrained || slices.ContainsFunc(groups, func(group []constraint) bool {
		return !slices.ContainsFunc(group, func(x constraint) bool { return !x.holds(x.selects(a)) })
	})
}

// compileConstraints checks offer constraints and makes them ready for use (SCH-68).
func compileConstraints(given *v1scheduler.OfferConstraints) (constraints, error) {
	if len(given.GetRoleConstraints()) == 0 {
		return nil, nil
	}
	out := make(constraints)
	for _, role := range slices.Sorted(maps.Keys(given.GetRoleConstraints())) {
		groups := given.GetRoleConstraints()[role].GetGroups()
		if len(groups) == 0 {
			return nil, refusal("`RoleConstraints.groups` must not be empty")
		}
		for _, g := range groups {
			if len(g.GetAttributeConstraints()) == 0 {
				return nil, refusal("`RoleConstraints.Group.attribute_constraints` must not be empty")
			}
			var group []constraint
			for _, a := range g.GetAttributeConstraints() {
				c, err := compileConstraint(a)
				if err != nil {
					return nil, err
				}
				group = append(group, c)
			}
			out[role] = append(out[role], group)
		}
	}
	return out, nil
}

func compileConstraint(a *v1scheduler.AttributeConstraint) (constraint, error) {
	s := a.GetSelector()
	if (s.AttributeName == nil) == (s.PseudoattributeType == nil) {
		return constraint{}, refusal("Exactly one of `AttributeConstraint::Selector::name` and `AttributeConstraint::Selector::pseudoattribute_type` must be set")
	}
	var c constraint
	switch {
	case s.AttributeName != nil:
		c.selects = namedAttribute(s.GetAttributeName())
	case s.GetPseudoattributeType() == v1scheduler.AttributeConstraint_Selector_HOSTNAME:
		c.selects = func(i *v1.AgentInfo) *v1.Attribute { return textAttribute(i.GetHostname()) }
	case s.GetPseudoattributeType() == v1scheduler.AttributeConstraint_Selector_REGION:
		c.selects = func(i *v1.AgentInfo) *v1.Attribute {
			return domainAttribute(i, i.GetDomain().GetFaultDomain().GetRegion().GetName())
		}
	case s.GetPseudoattributeType() == v1scheduler.AttributeConstraint_Selector_ZONE:
		c.selects = func(i *v1.AgentInfo) *v1.Attribute {
			return domainAttribute(i, i.GetDomain().GetFaultDomain().GetZone().GetName())
		}
	default:
		return constraint{}, refusal("Unknown pseudoattribute type")
	}
	var err error
	c.holds, err = compilePredicate(a.GetPredicate())
	return c, err
}

// namedAttribute selects the first attribute of a name (SCH-209).
func namedAttribute(name string) func(*v1.AgentInfo) *v1.Attribute {
	return func(i *v1.AgentInfo) *v1.Attribute {
		for _, a := range i.GetAttributes() {
			if a.GetName() == name {
				return a
			}
		}
		return nil
	}
}

func textAttribute(value string) *v1.Attribute {
	return &v1.Attribute{Type: v1.Value_TEXT.Enum(), Text: &v1.Value_Text{Value: &value}}
}

func domainAttribute(i *v1.AgentInfo, name string) *v1.Attribute {
	if i.GetDomain().GetFaultDomain() == nil {
		return nil
	}
	return textAttribute(name)
}

// compilePredicate follows SCH-210: an absent attribute meets the negative predicates, one that is
// not text meets all four predicates about text.
func compilePredicate(p *v1scheduler.AttributeConstraint_Predicate) (func(*v1.Attribute) bool, error) {
	text := func(wanted bool, test func(string) bool) func(*v1.Attribute) bool {
		return func(a *v1.Attribute) bool {
			switch {
			case a == nil:
				return !wanted
			case a.GetType() != v1.Value_TEXT:
				return true
			}
			return test(a.GetText().GetValue()) == wanted
		}
	}
	equals := func(value string) func(string) bool { return func(s string) bool { return s == value } }
	switch {
	case p.GetExists() != nil:
		return func(a *v1.Attribute) bool { return a != nil }, nil
	case p.GetNotExists() != nil:
		return func(a *v1.Attribute) bool { return a == nil }, nil
	case p.GetTextEquals() != nil:
		return text(true, equals(p.GetTextEquals().GetValue())), nil
	case p.GetTextNotEquals() != nil:
		return text(false, equals(p.GetTextNotEquals().GetValue())), nil
	case p.GetTextMatches() != nil:
		re, err := compileRegex(p.GetTextMatches().GetRegex())
		return text(true, re), err
	case p.GetTextNotMatches() != nil:
		re, err := compileRegex(p.GetTextNotMatches().GetRegex())
		return text(false, re), err
	}
	return nil, refusal("Unknown predicate type")
}

// maxRegexProgram bounds the compiled size of a pattern, in instructions
// (--offer_constraints_re2_max_program_size).
const maxRegexProgram = 100

// compileRegex compiles a pattern that must match the whole text (SCH-211).
func compileRegex(pattern string) (func(string) bool, error) {
	fail := func(why string) (func(string) bool, error) {
		return nil, refusalf("Failed to construct regex from pattern '%s': %s", pattern, why)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		var bad *syntax.Error
		if errors.As(err, &bad) {
			return fail(bad.Code.String() + ": " + bad.Expr)
		}
		return fail(err.Error())
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxRegexProgram {
		return fail("pattern too large - compile failed")
	}
	whole, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return fail(err.Error())
	}
	return whole.MatchString, nil
}

// setConstraints makes new constraints those of f. They were validated. Filters of the former ones
// end; outstanding offers stay (SCH-212).
func (m *Master) setConstraints(f *framework, given *v1scheduler.OfferConstraints) {
	compiled, err := compileConstraints(given)
	if err != nil {
		panic("master: constraints were not validated: " + err.Error())
	}
	if f.constraints != nil || compiled != nil {
		m.alloc.Revive(f.id, nil)
	}
	f.constraints, f.constraintsGiven = compiled, given
}
