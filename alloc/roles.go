package alloc

import (
	"cmp"
	"slices"
	"strings"
)

// roleTree orders the roles: a tree of role paths whose siblings are sorted by
// dominant share over weight (RES-200..206).
type roleTree struct {
	weights     map[string]float64
	roles       map[string]*role
	nodes       map[string]*node
	root        *node
	order       []*role // with active clients, poorest first
	orderStale  bool
	sharesStale bool // totals or weights changed: every share has to be computed
	staleNodes  []*node
	staleRoles  []*role
}

// node is one path of the tree. Its account covers the whole subtree. A role
// with clients of its own competes among its sub-roles through a leaf whose path
// ends in "/." (RES-206); that leaf is there even when it is the only child.
type node struct {
	path     string
	weight   float64
	parent   *node
	children []*node // sorted unless stale
	role     *role   // of a leaf
	account  account
	moved    int // children whose place may have changed
}

// role is a path with clients: frameworks that are subscribed to it or hold
// resources allocated to it.
type role struct {
	name    string
	leaf    *node
	clients []*client // sorted unless moved > 0
	active  int       // clients that may get offers
	moved   int       // clients whose place may have changed
}

func (t *roleTree) init(weights map[string]float64) {
	t.weights = weights
	if t.weights == nil {
		t.weights = make(map[string]float64)
	}
	t.roles = make(map[string]*role)
	t.nodes = make(map[string]*node)
	t.root = &node{weight: 1}
}

func (t *roleTree) weight(path string) float64 {
	if w, set := t.weights[path]; set {
		return w
	}
	return 1
}

// ensure returns the role of the name, which it creates if needed.
func (t *roleTree) ensure(name string) *role {
	if r, known := t.roles[name]; known {
		return r
	}
	parent := t.root
	for end := 0; end < len(name); {
		if i := strings.IndexByte(name[end+1:], '/'); i >= 0 {
			end += 1 + i
		} else {
			end = len(name)
		}
		parent = t.ensureNode(name[:end], parent)
	}
	r := &role{name: name}
	r.leaf = &node{path: name + "/.", weight: 1, parent: parent, role: r}
	t.adopt(parent, r.leaf)
	t.roles[name] = r
	return r
}

func (t *roleTree) ensureNode(path string, parent *node) *node {
	if n, known := t.nodes[path]; known {
		return n
	}
	n := &node{path: path, weight: t.weight(path), parent: parent}
	t.nodes[path] = n
	t.adopt(parent, n)
	return n
}

func (t *roleTree) adopt(parent, child *node) {
	parent.children = append(parent.children, child)
	t.nodeMoved(child)
	t.orderStale = true
}

// remove takes a role without clients out, and each ancestor that this leaves
// without children.
func (t *roleTree) remove(r *role) {
	delete(t.roles, r.name)
	t.orderStale = true
	for n := r.leaf; n.parent != nil && len(n.children) == 0; n = n.parent {
		if n.role == nil {
			delete(t.nodes, n.path)
		}
		i := slices.Index(n.parent.children, n)
		n.parent.children = slices.Delete(n.parent.children, i, i+1)
	}
}

// nodeMoved notes that the place of n among its siblings may have changed.
func (t *roleTree) nodeMoved(n *node) {
	if n.parent.moved == 0 {
		t.staleNodes = append(t.staleNodes, n.parent)
	}
	n.parent.moved++
}

// clientMoved notes that the place of one client of r may have changed.
func (t *roleTree) clientMoved(r *role) {
	if r.moved == 0 {
		t.staleRoles = append(t.staleRoles, r)
	}
	r.moved++
}

func compareNodes(a, b *node) int {
	if c := cmp.Compare(a.account.share, b.account.share); c != 0 {
		return c
	}
	if c := cmp.Compare(a.account.count, b.account.count); c != 0 {
		return c
	}
	return strings.Compare(a.path, b.path)
}

func compareClients(a, b *client) int {
	if c := cmp.Compare(a.account.share, b.account.share); c != 0 {
		return c
	}
	if c := cmp.Compare(a.account.count, b.account.count); c != 0 {
		return c
	}
	return strings.Compare(string(a.framework.id), string(b.framework.id))
}

// insertionLimit is the number of displaced elements up to which moving each to
// its place is cheaper than sorting anew.
const insertionLimit = 4

// restore sorts list, of which only moved elements are out of place, and
// reports whether the order changed.
func restore[T any](list []T, moved int, compare func(a, b T) int) bool {
	if moved > insertionLimit {
		slices.SortFunc(list, compare)
		return true
	}
	changed := false
	for i := 1; i < len(list); i++ {
		if compare(list[i-1], list[i]) <= 0 {
			continue
		}
		x, j := list[i], i
		for ; j > 0 && compare(list[j-1], x) > 0; j-- {
			list[j] = list[j-1]
		}
		list[j] = x
		changed = true
	}
	return changed
}

// sortRoles brings everything into order and returns the roles that have active
// clients, in pre-order of the sorted tree.
func (a *Allocator) sortRoles() []*role {
	t := &a.tree
	if t.sharesStale {
		a.updateShares(t.root)
		t.sharesStale = false
	}
	for _, n := range t.staleNodes {
		if restore(n.children, n.moved, compareNodes) {
			t.orderStale = true
		}
		n.moved = 0
	}
	for _, r := range t.staleRoles {
		restore(r.clients, r.moved, compareClients)
		r.moved = 0
	}
	t.staleNodes, t.staleRoles = t.staleNodes[:0], t.staleRoles[:0]
	if t.orderStale {
		t.order = t.root.appendActive(t.order[:0])
		t.orderStale = false
	}
	return t.order
}

// updateShares computes all shares below n and notes that everything may have
// moved.
func (a *Allocator) updateShares(n *node) {
	for _, child := range n.children {
		a.updateShare(&child.account, child.weight)
		a.tree.nodeMoved(child)
		a.updateShares(child)
	}
	if n.role == nil {
		return
	}
	for _, c := range n.role.clients {
		a.updateShare(&c.account, 1)
		a.tree.clientMoved(n.role)
	}
}

func (n *node) appendActive(order []*role) []*role {
	if n.role != nil && n.role.active > 0 {
		return append(order, n.role)
	}
	for _, child := range n.children {
		order = child.appendActive(order)
	}
	return order
}
