package hostile

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"tidemark/internal/proof"
)

// envInside says that this process is in the network namespace.
const envInside = "PROOF_HOSTILE_INSIDE"

// TestMain runs the tests in a network namespace of their own: this program runs itself
// once more, there.
func TestMain(m *testing.M) {
	if os.Getenv(envInside) == "" {
		os.Exit(inside())
	}
	flag.Parse()
	err := flag.Set("test.parallel", "24") // most attacks wait most of the time
	if err == nil {
		err = openWorld()
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
	os.Exit(proof.Main(m))
}

// inside runs this program in a new network namespace, and returns its exit code.
func inside() int {
	self := exec.Command("/proc/self/exe", os.Args[1:]...)
	self.Stdin, self.Stdout, self.Stderr = os.Stdin, os.Stdout, os.Stderr
	self.Env = append(os.Environ(), envInside+"=1")
	self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if id := os.Getuid(); id != 0 {
		self.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		self.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: id, Size: 1}}
		self.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	err := self.Run()
	if self.ProcessState != nil {
		return self.ProcessState.ExitCode()
	}
	_, _ = fmt.Fprintln(os.Stderr, "hostile: no network namespace:", err)
	return 1
}

// foreign counts connections to the listeners that nobody may connect to.
var foreign atomic.Int64

// foreignPorts are those that an attack names: of redirections, links and the like.
var foreignPorts = []int{21, 22, 25, 53, 80, 443, 2375, 6379, 8077, 8080}

// openWorld makes every address of the world one of this machine, and listens on all of
// them.
func openWorld() error {
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	if err := allIsLocal(); err != nil {
		return fmt.Errorf("route: %w", err)
	}
	for _, port := range foreignPorts {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				foreign.Add(1)
				_ = conn.Close()
			}
		}()
	}
	return nil
}

// loopbackUp does what "ip link set lo up" does.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// allIsLocal does what "ip route add local default dev lo" does.
func allIsLocal() error {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	var message bytes.Buffer
	put := func(v any) { _ = binary.Write(&message, binary.NativeEndian, v) }
	put(unix.NlMsghdr{
		Len:   unix.SizeofNlMsghdr + unix.SizeofRtMsg + unix.SizeofRtAttr + 4,
		Type:  unix.RTM_NEWROUTE,
		Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | unix.NLM_F_CREATE,
	})
	put(unix.RtMsg{Family: unix.AF_INET, Table: unix.RT_TABLE_LOCAL, Protocol: unix.RTPROT_BOOT, Scope: unix.RT_SCOPE_HOST, Type: unix.RTN_LOCAL})
	put(unix.RtAttr{Len: unix.SizeofRtAttr + 4, Type: unix.RTA_OIF})
	put(uint32(lo.Index))
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, message.Bytes(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 {
		return fmt.Errorf("netlink answered %d bytes", n)
	}
	if code := *(*int32)(unsafe.Pointer(&answer[unix.SizeofNlMsghdr])); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}

// strayConnections is how many connections and name look-ups went to where nobody of the
// tests listens, and to the listeners that nobody may connect to.
func strayConnections(t *testing.T) int64 {
	return foreign.Load() + snmp(t, "Tcp", "AttemptFails") + snmp(t, "Udp", "OutDatagrams")
}

// snmp is a counter of this network namespace.
func snmp(t *testing.T, protocol, name string) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if fields[0] != protocol+":" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i := range names {
			if names[i] == name {
				n, err := strconv.ParseInt(fields[i], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
	}
	t.Fatalf("no %s %s in /proc/self/net/snmp", protocol, name)
	return 0
}
