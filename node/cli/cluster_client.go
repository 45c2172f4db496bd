package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"clusterd/node"
)

// changeTime is how long a change may take: the removal of a master gives its place to another first.
const changeTime = 2 * time.Minute

// admin are the flags of commands that speak with the cluster's own API: the ones that change something
// through the socket of the node on this machine, the ones that only read through any node.
type admin struct {
	common
	dataDir string
}

// addSocket declares --data-dir and --output.
func (a *admin) addSocket(cmd *cobra.Command) {
	dir := cmp.Or(os.Getenv("CLUSTERD_DATA_DIR"), node.DefaultConfig().DataDir)
	cmd.Flags().StringVar(&a.dataDir, "data-dir", dir, "data `DIRECTORY` of the node on this machine (environment: CLUSTERD_DATA_DIR)")
	a.addFormat(cmd)
}

// addFormat declares --output; a wrong value is told before anything is done.
func (a *admin) addFormat(cmd *cobra.Command) {
	a.addOutput(cmd)
	cmd.PreRunE = func(*cobra.Command, []string) error {
		_, err := a.json()
		return err
	}
}

// clusterClient reaches the cluster API of one node.
type clusterClient struct {
	http *http.Client
	base string // http://HOST:PORT
	who  string // the node, for messages: HOST:PORT or "of DIRECTORY"
}

// socket reaches the node of the data directory. The error of a missing node says what to do.
func (a *admin) socket() (*clusterClient, error) {
	dir, err := filepath.Abs(a.dataDir)
	if err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	path := filepath.Join(dir, node.SocketName)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialSocket(ctx, path) }
	return &clusterClient{http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}}, base: "http://clusterd", who: "of " + dir}, nil
}

// maxSocketPath is what fits a socket's address.
const maxSocketPath = 107

func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	short := path
	if len(path) > maxSocketPath {
		dir, err := os.Open(filepath.Dir(path))
		if err != nil {
			return nil, socketError(path, err)
		}
		defer dir.Close() // it is only needed for the way
		short = "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path)
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", short)
	if err != nil {
		return nil, socketError(path, err)
	}
	return conn, nil
}

// socketFault is why no node answers at the socket of a data directory, and what to do.
type socketFault struct{ error }

func (e *socketFault) Unwrap() error { return e.error }

func socketError(path string, err error) error {
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("--data-dir: no node runs in %s (%s is not there): run this command as root on a machine with a running node, and name its data directory", dir, node.SocketName)
	case errors.Is(err, syscall.ECONNREFUSED):
		err = fmt.Errorf("--data-dir: the node of %s is not running: start it with clusterd start --data-dir %s", dir, dir)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("--data-dir: %s may not be opened by this user: run this command as root", path)
	default:
		err = fmt.Errorf("--data-dir: %s: %w", path, err)
	}
	return &socketFault{err}
}

// over reaches a node by HTTP.
func over(cl *client, addr string) *clusterClient {
	return &clusterClient{http: cl.http, base: "http://" + addr, who: addr}
}

// send makes a request and returns the open answer if its status is 200.
func (cl *clusterClient) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, cl.base+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := cl.http.Do(req)
	if err != nil {
		return nil, cl.unreached(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, cl.refused(resp)
	}
	return resp, nil
}

// unreached leaves out what Go repeats of the URL.
func (cl *clusterClient) unreached(err error) error {
	var socket *socketFault
	if errors.As(err, &socket) {
		return socket
	}
	return unreachable("node", cl.who, err)
}

// refused is the text of an answer. A node's own words need no address before them.
func (cl *clusterClient) refused(resp *http.Response) error {
	err := answerError(cl.who, resp)
	var answer *httpError
	if !errors.As(err, &answer) {
		return err
	}
	if answer.status == http.StatusNotFound && !strings.Contains(answer.text, "clusterd nodes") {
		return fmt.Errorf("node %s has no cluster API: it is no clusterd, or an older one", cl.who)
	}
	return &httpError{"", answer.status, answer.text}
}

// hasStatus says whether err is an answer with this HTTP status.
func hasStatus(err error, status int) bool {
	var answer *httpError
	return errors.As(err, &answer) && answer.status == status
}

// call makes a request and decodes the answer into v.
func (cl *clusterClient) call(ctx context.Context, method, path string, body, v any) error {
	resp, err := cl.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("answer of node %s: %w", cl.who, err)
	}
	return nil
}

// change is call with a limit of time.
func (cl *clusterClient) change(ctx context.Context, path string, body, v any) error {
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	return cl.call(ctx, http.MethodPost, path, body, v)
}

// readCluster reads what path answers from the first node that can say it: from --master, or from the
// socket if only --data-dir is given, on the command line or else in the environment. If several nodes are
// given, one that reaches the leading master is preferred to one that does not.
func readCluster[T any](cmd *cobra.Command, a *admin, path string, stale func(*T) bool) (*T, error) {
	readers, err := a.readers(cmd)
	if err != nil {
		return nil, err
	}
	var old *T
	var errs []error
	for _, cl := range readers {
		ctx, cancel := context.WithTimeout(cmd.Context(), requestTime)
		v := new(T)
		err := cl.call(ctx, http.MethodGet, path, nil, v)
		cancel()
		switch {
		case err != nil:
			errs = append(errs, err)
		case !stale(v):
			return v, nil
		case old == nil:
			old = v
		}
	}
	if old != nil {
		return old, nil
	}
	return nil, errors.Join(errs...)
}

// readers are the nodes to ask, in this order.
func (a *admin) readers(cmd *cobra.Command) ([]*clusterClient, error) {
	master, dir := cmd.Flags().Changed("master"), cmd.Flags().Changed("data-dir")
	if !master && !dir {
		master, dir = os.Getenv("CLUSTERD_MASTER") != "", os.Getenv("CLUSTERD_DATA_DIR") != ""
	}
	if dir && !master {
		cl, err := a.socket()
		return []*clusterClient{cl}, err
	}
	cl := newClient()
	all := make([]*clusterClient, 0, len(a.masters))
	for _, m := range a.masters {
		addr, err := masterAddress(m)
		if err != nil {
			return nil, usageError{fmt.Errorf("--master: %w", err)}
		}
		all = append(all, over(cl, addr))
	}
	return all, nil
}

// printAnswer writes v with -o json, and the text otherwise.
func (a *admin) printAnswer(cmd *cobra.Command, v any, format string, args ...any) error {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), v)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...)
	return err
}

// note writes a line about what is going on beside the output.
func note(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), "clusterd %s: "+format+"\n", append([]any{cmd.Name()}, args...)...)
}
