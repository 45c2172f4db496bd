// Package ui is the dashboard: a page embedded in the binary, and the hub that
// feeds it over websockets from a Source that the node implements.
//
// # Owner of the state
//
// One goroutine of the Hub owns the clients, the views and their sequence
// numbers. A view is what one topic shows now ("overview", "tasks?state=active",
// "agent/ID"): fields, and rows with a key. Views are shared by all clients that
// watch the same topic and vanish with the last of them.
//
// # Order
//
// For each topic a client first gets a snapshot with a sequence number, then
// deltas that number on from it without a hole. A client that sees a hole asks
// again and gets a new snapshot. A client that does not take its messages is
// closed with code 1013 (try again later) and connects anew by itself.
//
// The hub asks its Source at most every 100 ms, and less often when an answer
// takes long, so that watching never costs more than a fifth of one core.
//
// # Durable
//
// Nothing. The samples of the last hour are kept in memory and start anew with
// the process.
package ui
