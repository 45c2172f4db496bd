package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clusterd/node/api"
)

func newTokenCommand() *cobra.Command {
	a := &admin{}
	r := api.TokenRequest{Role: api.TokenAny}
	var ttl time.Duration
	var quiet bool
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print a token for other machines to join with",
		Long: `Print the line with which other machines join the cluster, or only the token with -q. A token of role any lets
a node become a master, one of role agent does not. Whoever has a token can join: keep it secret. It is good
until it is rotated, or with --ttl for that long. --rotate makes all tokens of the role worthless, also those
with --ttl, and prints the new one; nodes that have joined are not affected.`,
		Example: "  clusterd token\n  clusterd token --role agent --ttl 24h -q\n  clusterd token --rotate",
		GroupID: "admin",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.Role != api.TokenAny && r.Role != api.TokenAgent {
				return usageError{fmt.Errorf("--role: %q is not one of any, agent", r.Role)}
			}
			if cmd.Flags().Changed("ttl") && (ttl < api.MinTokenTTL || ttl > api.MaxTokenTTL || ttl%time.Second != 0) {
				return usageError{fmt.Errorf("--ttl: %s is not a whole number of seconds between %s and %s", ttl, api.MinTokenTTL, api.MaxTokenTTL)}
			}
			if r.Rotate && ttl != 0 {
				return usageError{fmt.Errorf("--rotate: prints the token without an end; ask for one with --ttl after it")}
			}
			r.TTLSeconds = int64(ttl / time.Second)
			cl, err := a.socket()
			if err != nil {
				return err
			}
			var t api.TokenAnswer
			if err := cl.change(cmd.Context(), "/cluster/token", r, &t); err != nil {
				return err
			}
			if quiet {
				return a.printAnswer(cmd, t, "%s", t.Token)
			}
			return a.printAnswer(cmd, t, "%s", joinText(t, r.Rotate))
		},
	}
	a.addSocket(cmd)
	cmd.Flags().StringVar(&r.Role, "role", r.Role, "what nodes may become with the token: any or agent")
	cmd.Flags().BoolVar(&r.Rotate, "rotate", false, "make all tokens of the role worthless first")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "time for which the token is good (default: until it is rotated)")
	cmd.Flags().Lookup("ttl").DefValue = ""
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print only the token")
	return cmd
}

// joinText says how to use a token.
func joinText(t api.TokenAnswer, rotated bool) string {
	var b strings.Builder
	if rotated {
		fmt.Fprintf(&b, "All tokens of role %s given out before are worthless now.\n\n", t.Role)
	}
	who := "as agent or master"
	if t.Role == api.TokenAgent {
		who = "as agent"
	}
	fmt.Fprintf(&b, "Other machines join %s with:\n\n  %s\n\n", who, joinLine(t))
	if t.Expires.IsZero() {
		b.WriteString("The token is good until it is rotated. Keep it secret.")
	} else {
		fmt.Fprintf(&b, "The token is good until %s. Keep it secret.", t.Expires.Local().Format("2006-01-02 15:04:05 MST"))
	}
	return b.String()
}

// joinLine is the command for other machines.
func joinLine(t api.TokenAnswer) string {
	peers := t.Peers
	if len(peers) == 0 {
		peers = []string{"PEER"}
	}
	line := "clusterd join " + strings.Join(peers, " ") + " --token " + t.Token
	if t.Role == api.TokenAgent {
		line += " --role agent"
	}
	return line
}
