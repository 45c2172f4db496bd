package raft

import (
	"fmt"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// Three members in one goroutine: their owner carries the messages and tells the time.
func ExampleMember() {
	members := map[uint64]*Member{}
	var mail []*raftpb.Message
	for id := uint64(1); id <= 3; id++ {
		storage, err := newForgetful(1, 2, 3)
		if err != nil {
			fmt.Println(err)
			return
		}
		members[id], err = NewMember(MemberConfig{
			ID: id, Storage: storage, Machine: &journal{}, Nonce: id,
			Send: func(messages []*raftpb.Message) { mail = append(mail, messages...) },
		})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	now := time.Unix(0, 0)
	settle := func() {
		for id := uint64(1); id <= 3; id++ {
			if err := members[id].Settle(now); err != nil {
				fmt.Println(err)
			}
		}
	}
	deliver := func() {
		settle()
		for len(mail) > 0 {
			m := mail[0]
			mail = mail[1:]
			if err := members[m.GetTo()].Step(m, now); err != nil {
				fmt.Println(err)
			}
			settle()
		}
	}
	// A member does not vote in its first moments: it may have helped another leader to a lease before
	// it was started.
	for range 9 {
		now = now.Add(100 * time.Millisecond)
		for id := uint64(1); id <= 3; id++ {
			members[id].Tick(now)
		}
		deliver()
	}
	members[2].Campaign()
	deliver()
	fmt.Printf("%+v\n", members[2].Leadership(now))
	members[2].Submit(Proposal{Data: []byte("hello"), Ended: func(index uint64, result any, err error) {
		fmt.Println(index, result, err)
	}})
	deliver()
	members[2].ReadIndex(func(index uint64, err error) { fmt.Println(index, err) })
	deliver()
	members[2].Transfer(3, func(err error) { fmt.Println(err) })
	deliver()
	fmt.Printf("%+v %+v\n", members[2].Leadership(now), members[3].Leadership(now))
	// Output:
	// {Leader:true Term:2}
	// 5 did hello <nil>
	// 5 <nil>
	// <nil>
	// {Leader:false Term:3} {Leader:true Term:3}
}
