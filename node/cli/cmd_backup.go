package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"clusterd/node/api"
)

// backupReport is what a backup is about and where it is.
type backupReport struct {
	api.BackupInfo
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

func newBackupCommand() *cobra.Command {
	a := &admin{}
	var force bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Save the cluster's replicated state to a file",
		Long: `Save the cluster's replicated state to a file, while the cluster runs: agents, frameworks and settings at one
instant, with a checksum. Keys and tokens are not in it. FILE appears whole or not at all; - is the standard output.
clusterd restore makes a new cluster from it.`,
		Example: "  clusterd backup /srv/backup/clusterd-$(date +%F)\n  clusterd backup - | gzip > state.gz",
		GroupID: "admin",
		Args:    argsBetween(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := a.socket()
			if err != nil {
				return err
			}
			file := args[0]
			if file == "-" {
				r, err := fetchBackup(cmd, cl, cmd.OutOrStdout())
				if err == nil {
					note(cmd, "%d bytes, cluster %s, index %d, state hash %s", r.Bytes, r.ClusterID, r.Index, r.StateHash)
				}
				return err
			}
			if _, err := os.Lstat(file); err == nil && !force {
				return fmt.Errorf("%s exists already: name another file, or replace it with --force", file)
			}
			r, err := saveBackup(cmd, cl, file)
			if err != nil {
				return err
			}
			return a.printAnswer(cmd, r, "%s: %d bytes, cluster %s, index %d, state hash %s", file, r.Bytes, r.ClusterID, r.Index, r.StateHash)
		},
	}
	a.addSocket(cmd)
	cmd.Flags().BoolVarP(&force, "force", "f", false, "replace a file that exists")
	return cmd
}

// saveBackup writes the backup beside file and gives it its name when all of it is on the disk.
func saveBackup(cmd *cobra.Command, cl *clusterClient, file string) (r *backupReport, err error) {
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, "."+filepath.Base(file)+".partial-") // mode 0600
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // its name is of no use to anybody
		}
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	r, err = fetchBackup(cmd, cl, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return nil, err
	}
	r.File = file
	return r, syncDir(dir)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// fetchBackup copies a backup to w and checks that all of it has come.
func fetchBackup(cmd *cobra.Command, cl *clusterClient, w io.Writer) (*backupReport, error) {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	resp, err := cl.send(ctx, http.MethodGet, "/cluster/backup", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r := &backupReport{File: "-"}
	if err := json.Unmarshal([]byte(resp.Header.Get(api.BackupHeader)), &r.BackupInfo); err != nil {
		return nil, fmt.Errorf("answer of node %s: header %s: %w", cl.who, api.BackupHeader, err)
	}
	sum := sha256.New()
	p := &byteProgress{cmd: cmd, said: time.Now()}
	r.Bytes, err = io.Copy(io.MultiWriter(w, sum, p), resp.Body)
	switch want := resp.Trailer.Get(api.ChecksumTrailer); {
	case err != nil:
		return nil, fmt.Errorf("backup broke off after %d bytes: %w", r.Bytes, err)
	case want == "":
		return nil, fmt.Errorf("backup broke off after %d bytes", r.Bytes)
	case want != hex.EncodeToString(sum.Sum(nil)):
		return nil, fmt.Errorf("backup was damaged on its way: the checksum of its %d bytes is not %s", r.Bytes, want)
	}
	return r, nil
}

// sayEvery is the time between two lines of a byteProgress.
const sayEvery = 2 * time.Second

// byteProgress says now and then how much has come.
type byteProgress struct {
	cmd   *cobra.Command
	bytes int64
	said  time.Time
}

func (p *byteProgress) Write(b []byte) (int, error) {
	p.bytes += int64(len(b))
	if now := time.Now(); now.Sub(p.said) >= sayEvery {
		note(p.cmd, "%d MB", p.bytes>>20)
		p.said = now
	}
	return len(b), nil
}
