// Package trust is the cluster's own security between nodes: its certificate authority, join tokens,
// the certificates of nodes, TLS configurations for every use, and the files that hold a node's key
// (CLU-20 to CLU-23).
//
// It knows nothing of raft, of the registry and of messages; it uses the standard library only.
//
// # Who is who
//
// An [Authority] signs the certificates of one cluster. A node's certificate names its [Identity]:
// organisation is the cluster id, organisational unit the [Role], common name the node id; it has no
// host names and no addresses, because a node is known by its id wherever it is. A peer is verified
// by the signature of a trusted authority directly on its certificate (there are no intermediate
// ones) and by the identity in it, never by host name.
//
// Certificates begin an hour before they were signed ([Backdate]), so that a machine whose clock is
// behind by less takes part. They are verified at the time of this machine's clock.
//
// # Protocols
//
// All traffic between nodes is TLS 1.3, without session tickets, so that each connection is a full
// handshake with the certificates and refusals of that moment. ALPN tells what a connection is for:
//
//	ALPN            the dialling side shows     the dialled side shows
//	clusterd-join   no certificate              any role, chain to the authority in the token
//	clusterd-node   any role                    master
//	clusterd-raft   master                      master
//	http/1.1        any role, or none           any role
//
// A client that offers no ALPN, or only others, is refused. A certificate that is shown is verified
// even where none is needed.
//
// # Life of a certificate
//
// The owner of a [Credentials] renews at [Credentials.RenewAt], two thirds into the lifetime (CLU-21).
// The authority itself is replaced in three steps, each when all nodes have done the one before:
// trust old and new; make the new one issue, upon which RenewAt is due at every node; trust the new
// one alone. [Credentials.Refuse] shuts removed nodes out of new connections at once; the owner of
// existing ones closes them, or asks [Credentials.Peer] again.
//
// # Secrets
//
// A [Key] shows itself to nobody: not to fmt, log/slog, encoding/json, nor to whatever walks a value
// by reflection. A [Token] prints without its secret, except by [Token.Text]. Errors never quote
// what a key file or a token holds.
//
// # What is durable
//
//	DIR              0700, owned by the user of the process
//	├── node.key     PEM, PKCS #8, 0600
//	├── node.crt     PEM, the node's certificate, then that of its authority, 0600
//	├── ca.crt       PEM, the trusted authorities, the issuing one first, 0600
//	├── next.tmp/    a set that is being written; ignored
//	└── next/        a set that is complete; its files count instead of those beside it
//
// [Files.Save] writes the three files into next.tmp, syncs them, and renames the directory to next:
// from then on the new set counts, before it the old one. Then the files are moved into place; what
// a crash leaves of that is done by the next Save.
package trust
