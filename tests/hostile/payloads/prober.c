/* Makes the system calls that a tool must not get, each in a process of its own, and prints one
 * JSON object a line: {"name": "result"}. A result is `ok`, the name or number of an errno, or
 * `SIGSYS` (or `signal N`) when the call ended its process.
 *
 * Static and without any library call between fork and the attempt that a filter could deny.
 *
 *   prober table           every attempt below
 *   prober trip NAME       one attempt in this process itself, so that a kill is the tool's end
 *   prober many N          N calls that are denied, as fast as they go
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Younger than the headers of old distributions; the numbers are the same everywhere. */
#define NR_PIDFD_GETFD 438
#define NR_CLONE3 435
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSOPEN 430
#define NR_FSMOUNT 432
#define NR_MOUNT_SETATTR 442
#define NR_IO_URING_SETUP 425
#define NR_MEMFD_SECRET 447
#define NR_LISTMOUNT 458
#define NR_OPEN_TREE_ATTR 467

static const char nothing[64];
#define PTR ((long)nothing)
#define HIGH (0xdeadbeefL << 32)

struct attempt {
  const char *name;
  long number;
  long args[6];
};

static const struct attempt attempts[] = {
    /* namespaces and processes */
    {"unshare user", SYS_unshare, {CLONE_NEWUSER}},
    {"unshare mount", SYS_unshare, {CLONE_NEWNS}},
    {"clone user", SYS_clone, {CLONE_NEWUSER | SIGCHLD}},
    {"clone network", SYS_clone, {CLONE_NEWNET | SIGCHLD}},
    {"clone cgroup", SYS_clone, {CLONE_NEWCGROUP | SIGCHLD}},
    {"clone user, high bits", SYS_clone, {HIGH | CLONE_NEWUSER | SIGCHLD}},
    {"clone3", NR_CLONE3, {PTR, 64}},
    {"setns", SYS_setns, {0, 0}},
    {"ptrace traceme", SYS_ptrace, {0}},
    {"ptrace seize", SYS_ptrace, {0x4206, 1}},
    {"process_vm_readv", SYS_process_vm_readv, {1, PTR, 1, PTR, 1}},
    {"process_vm_writev", SYS_process_vm_writev, {1, PTR, 1, PTR, 1}},
    {"pidfd_getfd", NR_PIDFD_GETFD, {0, 0, 0}},
    {"kcmp", SYS_kcmp, {1, 1, 0}},
    {"setuid", SYS_setuid, {0}},
    {"setresuid", SYS_setresuid, {0, 0, 0}},
    {"setgroups", SYS_setgroups, {0, 0}},
    {"capset", SYS_capset, {PTR, PTR}},
    {"personality", SYS_personality, {0x0040000}},
    {"prctl PR_SET_MM", SYS_prctl, {35, 1}},
    {"prctl PR_SET_PTRACER", SYS_prctl, {0x59616d61, -1}},
    /* files and mounts */
    {"mount", SYS_mount, {PTR, PTR, PTR, 4096}},
    {"umount2", SYS_umount2, {(long)"/tool", 2}},
    {"pivot_root", SYS_pivot_root, {(long)"/tmp", (long)"/tmp"}},
    {"chroot", SYS_chroot, {(long)"/tmp"}},
    {"fsopen", NR_FSOPEN, {(long)"tmpfs"}},
    {"fsmount", NR_FSMOUNT, {0}},
    {"open_tree", NR_OPEN_TREE, {-100, (long)"/", 1}},
    {"open_tree_attr", NR_OPEN_TREE_ATTR, {-100, (long)"/", 1}},
    {"move_mount", NR_MOVE_MOUNT, {-100, (long)"/tmp", -100, (long)"/out"}},
    {"mount_setattr", NR_MOUNT_SETATTR, {-100, (long)"/", 0, PTR, 32}},
    {"listmount", NR_LISTMOUNT, {PTR, PTR, 1}},
    {"mknod character device", SYS_mknodat, {-100, (long)"/tmp/c", 020666, 0x103}},
    {"mknod block device", SYS_mknodat, {-100, (long)"/tmp/b", 060666, 0x800}},
    {"name_to_handle_at", SYS_name_to_handle_at, {-100, (long)"/", PTR, PTR}},
    {"open_by_handle_at", SYS_open_by_handle_at, {-100, PTR, 0}},
    {"fanotify_init", SYS_fanotify_init, {0}},
    {"memfd_create", SYS_memfd_create, {(long)"x", 0}},
    {"memfd_secret", NR_MEMFD_SECRET, {0}},
    {"ioctl TIOCSTI", SYS_ioctl, {0, 0x5412, PTR}},
    {"ioctl TIOCSTI, high bits", SYS_ioctl, {0, HIGH | 0x5412, PTR}},
    {"ioctl TIOCLINUX", SYS_ioctl, {0, 0x541c, PTR}},
    /* kernel attack surface */
    {"bpf", SYS_bpf, {0, PTR, 64}},
    {"userfaultfd", SYS_userfaultfd, {0}},
    {"perf_event_open", SYS_perf_event_open, {PTR, 0, -1, -1, 0}},
    {"keyctl", SYS_keyctl, {0, -3, 0}},
    {"add_key", SYS_add_key, {(long)"user", (long)"k", PTR, 4, -3}},
    {"request_key", SYS_request_key, {(long)"user", (long)"k", 0, -3}},
    {"init_module", SYS_init_module, {PTR, 64, PTR}},
    {"finit_module", SYS_finit_module, {0, PTR, 0}},
    {"delete_module", SYS_delete_module, {(long)"x", 0}},
    {"kexec_load", SYS_kexec_load, {0, 0, PTR, 0}},
    {"io_uring_setup", NR_IO_URING_SETUP, {1, PTR}},
    {"io_setup", SYS_io_setup, {1, PTR}},
    {"shmget", SYS_shmget, {0, 4096, 01600}},
    {"mq_open", SYS_mq_open, {(long)"x", 0100, 0600, 0}},
    {"syslog", SYS_syslog, {3, PTR, 0}},
    {"reboot", SYS_reboot, {0}},
    {"swapon", SYS_swapon, {(long)"/tmp/x", 0}},
    {"acct", SYS_acct, {(long)"/tmp/x"}},
    {"settimeofday", SYS_settimeofday, {PTR, 0}},
    {"quotactl", SYS_quotactl, {0, 0, 0, 0}},
    {"sync", SYS_sync, {0}},
    {"unknown 500", 500, {0}},
    {"unknown 9999", 9999, {0}},
    /* sockets: family, type, protocol */
    {"socket unix", SYS_socket, {1, 1, 0}},
    {"socket inet stream", SYS_socket, {2, 1, 0}},
    {"socket inet datagram", SYS_socket, {2, 2, 0}},
    {"socket inet raw", SYS_socket, {2, 3, 1}},
    {"socket inet icmp", SYS_socket, {2, 2, 1}},
    {"socket inet6", SYS_socket, {10, 1, 0}},
    {"socket netlink", SYS_socket, {16, 3, 0}},
    {"socket packet", SYS_socket, {17, 3, 0x300}},
    {"socket packet, high bits", SYS_socket, {HIGH | 17, 3, 0x300}},
    {"socket alg", SYS_socket, {38, 5, 0}},
    {"socket vsock", SYS_socket, {40, 1, 0}},
    {"socket vsock, high bits", SYS_socket, {HIGH | 40, 1, 0}},
    {"socket xdp", SYS_socket, {44, 3, 0}},
    {"socket bluetooth", SYS_socket, {31, 3, 1}},
    {"socketpair tipc", SYS_socketpair, {30, 1, 0, PTR}},
    {"socketpair unix datagram", SYS_socketpair, {1, 2, 0, PTR}},
    {"socketpair unix raw", SYS_socketpair, {1, 3, 0, PTR}},
};

#if defined(__x86_64__)
/* The i386 ABI from a 64-bit process; memory below 4 GiB would be needed for pointers, and a
 * filter that looks at numbers only must stop the call before it looks at any. */
static long i386(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
  return result;
}
static const struct attempt foreign[] = {
    {"i386 getpid", 20, {0}},
    {"i386 unshare user", 310, {CLONE_NEWUSER}},
    {"i386 socketcall", 102, {1, 0}},
    {"i386 socket vsock", 359, {40, 1, 0}},
    {"i386 ptrace", 26, {0}},
};
static const struct attempt x32[] = {
    {"x32 getpid", 0x40000000 | SYS_getpid, {0}},
    {"x32 unshare user", 0x40000000 | SYS_unshare, {CLONE_NEWUSER}},
    {"x32 socket vsock", 0x40000000 | SYS_socket, {40, 1, 0}},
    {"x32 ptrace", 0x40000000 | 521, {0}},
};
#endif

static long native(const struct attempt *a) {
  const long *v = a->args;
  long result = syscall(a->number, v[0], v[1], v[2], v[3], v[4], v[5]);
  return result == -1 ? -errno : result;
}

static const char *text(long result, char *room, size_t size) {
  const char *name = result < 0 ? strerrorname_np((int)-result) : "ok";
  if (name) return name;
  snprintf(room, size, "errno %ld", -result);
  return room;
}

/* One attempt in a child; the child tells its errno through its exit status. */
static void try(const struct attempt *a, long (*make)(const struct attempt *)) {
  char room[32];
  int status;
  const char *answer;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    pid_t self = getpid();
    long result = make(a);
    if (getpid() != self) _exit(0); /* the attempt was a fork that succeeded */
    _exit(result < 0 ? (int)-result : 0);
  }
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) {
    snprintf(room, sizeof room, "signal %d", WTERMSIG(status));
    answer = WTERMSIG(status) == SIGSYS ? "SIGSYS" : room;
  } else {
    answer = text(-(long)WEXITSTATUS(status), room, sizeof room);
    if (WEXITSTATUS(status) == 0) answer = "ok";
  }
  printf("{\"%s\": \"%s\"}\n", a->name, answer);
}

#define COUNT(table) (sizeof table / sizeof *table)

#if defined(__x86_64__)
static long through_i386(const struct attempt *a) {
  return i386(a->number, a->args[0], a->args[1], a->args[2]);
}
#endif

static int trip(const char *name) {
  for (size_t i = 0; i < COUNT(attempts); i++)
    if (!strcmp(attempts[i].name, name)) return native(&attempts[i]) < 0;
#if defined(__x86_64__)
  for (size_t i = 0; i < COUNT(foreign); i++)
    if (!strcmp(foreign[i].name, name)) return through_i386(&foreign[i]) < 0;
  for (size_t i = 0; i < COUNT(x32); i++)
    if (!strcmp(x32[i].name, name)) return native(&x32[i]) < 0;
#endif
  return 64;
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "trip")) return trip(argv[2]);
  if (argc == 3 && !strcmp(argv[1], "many")) {
    struct timespec from, to;
    long left = atol(argv[2]);
    clock_gettime(CLOCK_MONOTONIC, &from);
    while (left-- > 0) syscall(SYS_mount, 0, 0, 0, 0, 0);
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("{\"nanoseconds a call\": %.0f}\n",
           ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / atol(argv[2]));
    return 0;
  }
  for (size_t i = 0; i < COUNT(attempts); i++) try(&attempts[i], native);
#if defined(__x86_64__)
  for (size_t i = 0; i < COUNT(foreign); i++) try(&foreign[i], through_i386);
  for (size_t i = 0; i < COUNT(x32); i++) try(&x32[i], native);
#endif
  return 0;
}
