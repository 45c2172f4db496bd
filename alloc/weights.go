package alloc

import (
	"math"
	"strconv"
	"strings"

	"clusterd/node/mesos"
)

// ParseWeights reads --weights: "dev=10,stage=20" (RES-70).
func ParseWeights(text string) (map[string]float64, error) {
	weights := make(map[string]float64)
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		role, value, found := strings.Cut(pair, "=")
		role = strings.TrimSpace(role)
		weight, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if !found || err != nil || mesos.ValidateRole(role) != nil {
			return nil, reason("Invalid weight: '" + pair + "'. --weights should be of the form 'role=weight,role=weight'")
		}
		if !validWeight(weight) {
			return nil, reason("Invalid weight: '" + pair + "'. Weights must be positive")
		}
		weights[role] = weight
	}
	return weights, nil
}

func validWeight(weight float64) bool { return weight > 0 && !math.IsInf(weight, 1) }

// SetWeight sets the weight of a role path, which need not have frameworks. It
// takes effect with the next cycle and makes nothing due (RES-75, RES-76).
// Preconditions: weight is positive and finite.
func (a *Allocator) SetWeight(path string, weight float64) {
	if !validWeight(weight) {
		panic("alloc: weight of role " + path + " is not positive and finite")
	}
	a.tree.weights[path] = weight
	if n := a.tree.nodes[path]; n != nil {
		n.weight = weight
		a.updateShare(&n.account, weight)
		a.tree.nodeMoved(n)
	}
}
