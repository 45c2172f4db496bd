// Package v1resourceprovider holds the resource provider API of agents. It is generated from
// v1resourceprovider.proto by scripts/generate. Names, numbers and defaults are those of Mesos
// 1.12 and never change: package mesos tests them against the published list, and has the codecs.
package v1resourceprovider
