package isolate

import "syscall"

func plainAttr(owner *credential) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if owner != nil {
		attr.Credential = &syscall.Credential{Uid: owner.UID, Gid: owner.GID, Groups: owner.Groups}
	}
	return attr
}

// reapOrphans: orphans go to launchd here.
func reapOrphans(int) (stop func()) { return func() {} }
