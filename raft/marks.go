package raft

// Hasher is a [StateMachine] whose states can be compared (CLU-32). The leader has all peers take
// the hash of their state after the same entry, now and then, and tells its own; one that differs stops.
type Hasher interface {
	// Hash returns a function that gives the hash of the state as it is now. It is called once, where
	// [MemberConfig].Aside runs it, while later entries are applied. Equal states have equal hashes.
	Hash() func() string
}

// marks compares the state with that of the leader. It is pure but for the sums, which are made aside.
type marks struct {
	machine Hasher // nil if its states cannot be compared
	aside   func(work func() error, done func(error))

	last     uint64 // index of the newest mark, since this process began
	summing  uint64 // mark whose sum is being made, 0 if none is
	summed   uint64 // mark of the newest sum
	sum      string
	compared uint64 // newest mark of which the leader told its sum
	verdict  uint64 // mark that is being summed and that the leader told the sum of; 0 if none is
	expected string // that sum
	fail     func(error)
}

// take is called when a mark was applied.
func (m *marks) take(index uint64) error {
	if m.machine == nil {
		return nil
	}
	m.last = index
	if m.summing != 0 {
		return nil // this one is left out
	}
	picture, sum := m.machine.Hash(), ""
	m.summing = index
	m.aside(func() error {
		sum = picture()
		return nil
	}, func(error) {
		m.summing, m.summed, m.sum = 0, index, sum
		if m.verdict == index {
			m.verdict = 0
			m.fail(m.compare(index, m.expected))
		}
	})
	return nil
}

// compare is called when the leader's sum at a mark was applied.
func (m *marks) compare(index uint64, sum string) error {
	m.compared = max(m.compared, index)
	switch {
	case m.machine == nil:
	case index == m.summing:
		m.verdict, m.expected = index, sum
	case index == m.summed && sum != m.sum:
		return &DivergedError{Index: index, Own: m.sum, Leader: sum}
	}
	return nil
}

// restored is called when the state was replaced.
func (m *marks) restored() { m.summed, m.verdict = 0, 0 }

// office is what a leader does about marks.
type office struct {
	term   uint64 // the newest in which it was in office
	marked uint64 // term in which it appended the newest mark
	before uint64 // mark before that
	told   uint64 // newest mark whose sum it appended
}

// due returns the entry that an established leader with others to compare with is to append now, nil if
// there is none. every is the number of entries between marks.
func (o *office) due(term, applied, every uint64, m *marks) []byte {
	if m.machine == nil {
		return nil
	}
	fresh := o.term != term
	o.term = term
	if m.summed > max(o.told, m.compared) {
		o.told = m.summed
		return encodeNumbered(entrySum, m.summed, []byte(m.sum))
	}
	if m.summing != 0 || o.marked == term && o.before == m.last {
		return nil // the newest mark is still under way
	}
	if since := applied - m.last; since >= every || fresh && since >= every/10 {
		o.marked, o.before = term, m.last
		return []byte{entryMark}
	}
	return nil
}
