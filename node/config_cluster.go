package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

const (
	// PeerPort is where nodes reach each other unless --peer-listen says otherwise.
	PeerPort = 5055
	// maxTokenBytes is far above the size of a token.
	maxTokenBytes = 4096
	maxNameLength = 253 // as of a host name
)

// Roles of a node (CLU-4).
var nodeRoles = []string{"auto", "master", "agent", "both"}

// mastersAllowed: an even number of voters bears no more failures than the odd one below it.
var mastersAllowed = []int{1, 3, 5, 7}

// AddClusterFlags declares on fs how the node becomes part of a cluster. `clusterd dev` has none of these.
func (c *Config) AddClusterFlags(fs *pflag.FlagSet) {
	fs.SetNormalizeFunc(NormalizeFlag)
	fs.StringSliceVar(&c.Join, "join", c.Join, "`PEER` of a cluster to join if the data directory is new: HOST, HOST:PORT or [v6]:PORT; several may be given")
	fs.StringVar(&c.Token, "token", c.Token, "join token; others on this machine can read it here, but not in --token-file or CLUSTERD_TOKEN")
	fs.StringVar(&c.TokenFile, "token-file", c.TokenFile, "`FILE` with the join token, read when it is needed")
	fs.StringVar(&c.Role, "role", c.Role, "auto (agent, and master when one is missing), master, agent or both")
	fs.IntVar(&c.Masters, "masters", c.Masters, "masters that a new cluster keeps: 1, 3, 5 or 7")
	durationVar(fs, &c.MasterReplaceAfter, "master-replace-after", "another node takes the place of a master that is unreachable for this long")
	durationVar(fs, &c.CertificateLifetime, "certificate-lifetime", "lifetime of the certificates of nodes; they are renewed at two thirds of it")
	markSecret(fs, "token")
}

// validateCluster is the part of Validate for what this file declares.
func (c *Config) validateCluster(bad func(flag, format string, args ...any), between func(flag string, d, low, high time.Duration)) {
	if _, err := c.PeerAddresses(); err != nil {
		bad("join", "%v", err)
	}
	if c.Token != "" && c.TokenFile != "" {
		bad("token", "--token-file is given too: give one of them")
	}
	if !slices.Contains(nodeRoles, c.Role) {
		bad("role", "%q is not one of %s", c.Role, strings.Join(nodeRoles, ", "))
	}
	if !slices.Contains(mastersAllowed, c.Masters) {
		bad("masters", "%d is not one of 1, 3, 5, 7", c.Masters)
	}
	between("master-replace-after", c.MasterReplaceAfter, time.Second, 365*24*time.Hour)
	between("certificate-lifetime", c.CertificateLifetime, time.Minute, 10*365*24*time.Hour)
	if err := checkName(c.Name); err != nil {
		bad("node-name", "%v", err)
	}
	if _, err := c.FaultDomain(); err != nil {
		bad("domain", "%v", err)
	}
}

// checkName keeps names fit for tables, paths of the API and DNS.
func checkName(name string) error {
	for _, r := range name {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.' || r == '_') {
			return fmt.Errorf("%q has %q: only letters, digits, '.', '-' and '_' are allowed", name, r)
		}
	}
	if len(name) > maxNameLength {
		return fmt.Errorf("has %d characters: at most %d are allowed", len(name), maxNameLength)
	}
	return nil
}

// NodeName is --node-name, or else the name of this machine with what is not allowed in it replaced.
func (c *Config) NodeName() (string, error) {
	if c.Name != "" {
		return c.Name, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("--node-name: name of this machine: %w", err)
	}
	name = strings.Map(func(r rune) rune {
		if checkName(string(r)) != nil {
			return '-'
		}
		return r
	}, name)
	return name[:min(len(name), maxNameLength)], nil
}

// PeerAddresses are the nodes of Join, each as HOST:PORT.
func (c *Config) PeerAddresses() ([]string, error) {
	var all []string
	var errs []error
	for _, p := range c.Join {
		addr, err := ParsePeer(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, addr)
	}
	return all, errors.Join(errs...)
}

// ParsePeer completes HOST, HOST:PORT or [v6]:PORT, also a bare IPv6 address, to HOST:PORT (CLU-3). It
// does not look the host up.
func ParsePeer(s string) (string, error) {
	host, port := s, strconv.Itoa(PeerPort)
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	} else if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		host = s[1 : len(s)-1]
	}
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("%q is not HOST, HOST:PORT or [IPV6]:PORT: %s", s, why)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return bad(fmt.Sprintf("port %q is not between 1 and 65535", port))
	}
	switch {
	case host == "":
		return bad("the host is missing")
	case net.ParseIP(strings.SplitN(host, "%", 2)[0]) != nil:
	case strings.HasPrefix(s, "["):
		return bad(fmt.Sprintf("%q is not an IPv6 address", host))
	case checkName(host) != nil:
		return bad(fmt.Sprintf("%q is neither a host name nor an IP address", host))
	}
	return net.JoinHostPort(host, port), nil
}

// JoinToken is --token or the content of --token-file; "" if neither is given. The file is read only
// here, so that it need not exist any more when the node starts again.
func (c *Config) JoinToken() (string, error) {
	if c.TokenFile == "" {
		return strings.TrimSpace(c.Token), nil
	}
	f, err := os.Open(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenBytes+1))
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || len(text) > maxTokenBytes {
		return "", fmt.Errorf("--token-file: %s does not hold a token", c.TokenFile)
	}
	return string(text), nil
}

// FaultDomain decodes --domain; nil if it is not set. Mesos writes it as JSON.
func (c *Config) FaultDomain() (*v1.DomainInfo, error) {
	text := strings.TrimSpace(c.Domain)
	if text == "" {
		return nil, nil
	}
	d := &v1.DomainInfo{}
	if strings.HasPrefix(text, "{") {
		if err := mesos.JSON.Unmarshal([]byte(text), d); err != nil {
			return nil, err
		}
	} else {
		region, zone, _ := strings.Cut(text, "/")
		d.FaultDomain = &v1.DomainInfo_FaultDomain{
			Region: &v1.DomainInfo_FaultDomain_RegionInfo{Name: proto.String(region)},
			Zone:   &v1.DomainInfo_FaultDomain_ZoneInfo{Name: proto.String(zone)},
		}
	}
	region, zone := d.GetFaultDomain().GetRegion().GetName(), d.GetFaultDomain().GetZone().GetName()
	if region == "" || zone == "" || strings.Contains(region+zone, "/") {
		return nil, fmt.Errorf("%q is not REGION/ZONE", c.Domain)
	}
	return d, nil
}

// secretFlag marks flags whose value is shown nowhere (CLU-23).
const secretFlag = "clusterd_secret"

func markSecret(fs *pflag.FlagSet, name string) {
	f := fs.Lookup(name)
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[secretFlag] = []string{"true"}
}

func isSecret(f *pflag.Flag) bool { return len(f.Annotations[secretFlag]) > 0 }
