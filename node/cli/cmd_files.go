package cli

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

// fileArgs are TASK [FILE]; FILE is stdout unless given.
func fileArgs(args []string) (task, file string) {
	if len(args) == 2 {
		return args[0], args[1]
	}
	return args[0], "stdout"
}

func newCatCommand(c *common) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cat TASK [FILE]",
		Short:   "Print a file of a task's sandbox",
		Long:    "Print FILE (default stdout) of the sandbox of the task whose id begins with TASK. It works for ended tasks until their sandboxes are removed.",
		Example: "  clusterd cat hello\n  clusterd cat hello stderr",
		GroupID: "task",
		Args:    argsBetween(1, 2, "TASK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.dial(cmd.Context())
			if err != nil {
				return err
			}
			task, file := fileArgs(args)
			f, err := cl.openSandbox(cmd.Context(), task, file)
			if err != nil {
				return err
			}
			return f.copyAll(cmd.Context(), cmd.OutOrStdout())
		},
	}
	c.addTo(cmd)
	return cmd
}

func newHeadCommand(c *common) *cobra.Command {
	var lines int
	cmd := &cobra.Command{
		Use:     "head TASK [FILE]",
		Short:   "Print the first lines of a file of a task's sandbox",
		Example: "  clusterd head hello\n  clusterd head -n 3 hello stderr",
		GroupID: "task",
		Args:    argsBetween(1, 2, "TASK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if lines < 0 {
				return usageError{fmt.Errorf("--lines: %d is negative", lines)}
			}
			cl, err := c.dial(cmd.Context())
			if err != nil {
				return err
			}
			task, file := fileArgs(args)
			f, err := cl.openSandbox(cmd.Context(), task, file)
			if err != nil {
				return err
			}
			for offset := int64(0); lines > 0; {
				data, _, err := f.read(cmd.Context(), offset, readChunk)
				if err != nil || len(data) == 0 {
					return err
				}
				offset += int64(len(data))
				for len(data) > 0 && lines > 0 {
					line := data
					if i := bytes.IndexByte(data, '\n'); i >= 0 {
						line = data[:i+1]
						lines--
					}
					if _, err := cmd.OutOrStdout().Write(line); err != nil {
						return err
					}
					data = data[len(line):]
				}
			}
			return nil
		},
	}
	c.addTo(cmd)
	cmd.Flags().IntVarP(&lines, "lines", "n", 10, "`NUMBER` of lines")
	return cmd
}

func newTailCommand(c *common) *cobra.Command {
	var lines int
	var follow bool
	cmd := &cobra.Command{
		Use:     "tail TASK [FILE]",
		Short:   "Print the last lines of a file of a task's sandbox, and what is added",
		Long:    "Print the last lines of FILE (default stdout). With -f go on with what is added, until the task has ended.",
		Example: "  clusterd tail hello\n  clusterd tail -f -n 100 hello stderr",
		GroupID: "task",
		Args:    argsBetween(1, 2, "TASK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if lines < 0 {
				return usageError{fmt.Errorf("--lines: %d is negative", lines)}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
			defer stop()
			cl, err := c.dial(ctx)
			if err != nil {
				return err
			}
			name, file := fileArgs(args)
			t, err := cl.task(ctx, name)
			if err != nil {
				return err
			}
			f, err := cl.sandboxOf(t, file)
			if err != nil {
				return err
			}
			at, err := f.lineOffset(ctx, lines)
			if err != nil {
				return err
			}
			if !follow {
				_, err := f.copyFrom(ctx, cmd.OutOrStdout(), at)
				return err
			}
			var ended atomic.Bool
			ended.Store(terminal(t.State))
			if !ended.Load() {
				go func() { // ends with ctx
					tick := time.NewTicker(time.Second)
					defer tick.Stop()
					for {
						select {
						case <-ctx.Done():
							return
						case <-tick.C:
						}
						if now, err := cl.task(ctx, t.ID); err == nil && terminal(now.State) {
							ended.Store(true)
							return
						}
					}
				}()
			}
			return f.follow(ctx, cmd.OutOrStdout(), at, ended.Load)
		},
	}
	c.addTo(cmd)
	cmd.Flags().IntVarP(&lines, "lines", "n", 10, "`NUMBER` of lines to begin with")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is added")
	return cmd
}

func newLsCommand(c *common) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls TASK [DIRECTORY]",
		Short:   "List files of a task's sandbox",
		Example: "  clusterd ls hello\n  clusterd ls hello output -o json",
		GroupID: "task",
		Args:    argsBetween(1, 2, "TASK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := c.json()
			if err != nil {
				return err
			}
			cl, err := c.dial(cmd.Context())
			if err != nil {
				return err
			}
			dir := ""
			if len(args) == 2 {
				dir = args[1]
			}
			f, err := cl.openSandbox(cmd.Context(), args[0], dir)
			if err != nil {
				return err
			}
			var entries []struct {
				Path  string  `json:"path"`
				Mode  string  `json:"mode"`
				Links int     `json:"nlink"`
				UID   string  `json:"uid"`
				GID   string  `json:"gid"`
				Size  int64   `json:"size"`
				MTime float64 `json:"mtime"`
			}
			if err := cl.getJSON(cmd.Context(), f.addr, "/files/browse", url.Values{"path": {f.path}}, &entries); err != nil {
				return f.explain(err)
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), entries)
			}
			t := newTable(cmd.OutOrStdout(), "MODE", "LINKS", "USER", "GROUP", "SIZE", "MODIFIED", "NAME")
			for _, e := range entries {
				t.row(e.Mode, strconv.Itoa(e.Links), e.UID, e.GID, strconv.FormatInt(e.Size, 10),
					time.Unix(int64(e.MTime), 0).Format("2006-01-02 15:04:05"), path.Base(e.Path))
			}
			return t.flush()
		},
	}
	c.addTo(cmd)
	c.addOutput(cmd)
	return cmd
}
