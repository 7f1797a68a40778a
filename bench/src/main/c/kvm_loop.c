// The peer of KvmRoundTrip: the least that a C program does for an exit of KVM, and nothing else.
//
//   kvm_loop IMAGE MARK SYNC   runs IMAGE, a flat real-mode program, loaded and started at 0x1000
//                              of 64 KiB of memory; SYNC=1 asks for the registers with each exit
//
// The image writes to port MARK between two batches. For each byte on standard input one batch is
// run, and its nanoseconds from mark to mark are printed on a line.

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MEMORY = 0x10000, ORIGIN = 0x1000, CPUID_ENTRIES = 256 };

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int call(int fd, unsigned long request, unsigned long argument, const char *what) {
  const int result = ioctl(fd, request, argument);
  if (result < 0) fail(what);
  return result;
}

static uint64_t nanos(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: kvm_loop IMAGE MARK SYNC\n");
    return 2;
  }
  const int mark = atoi(argv[2]);
  const int sync = atoi(argv[3]);

  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) fail("/dev/kvm");
  const int vm = call(kvm, KVM_CREATE_VM, 0, "KVM_CREATE_VM");
  call(vm, KVM_SET_TSS_ADDR, 0xfffbd000, "KVM_SET_TSS_ADDR");
  uint8_t *memory =
      mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  FILE *image = fopen(argv[1], "rb");
  if (image == NULL || fread(memory + ORIGIN, 1, MEMORY - ORIGIN, image) == 0) fail(argv[1]);
  fclose(image);
  struct kvm_userspace_memory_region region = {
      .slot = 0, .guest_phys_addr = 0, .memory_size = MEMORY, .userspace_addr = (uint64_t)memory};
  call(vm, KVM_SET_USER_MEMORY_REGION, (unsigned long)&region, "KVM_SET_USER_MEMORY_REGION");

  const int vcpu = call(vm, KVM_CREATE_VCPU, 0, "KVM_CREATE_VCPU");
  const int size = call(kvm, KVM_GET_VCPU_MMAP_SIZE, 0, "KVM_GET_VCPU_MMAP_SIZE");
  struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) fail("mmap");
  struct kvm_cpuid2 *cpuid =
      calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2));
  if (cpuid == NULL) fail("calloc");
  cpuid->nent = CPUID_ENTRIES;
  call(kvm, KVM_GET_SUPPORTED_CPUID, (unsigned long)cpuid, "KVM_GET_SUPPORTED_CPUID");
  call(vcpu, KVM_SET_CPUID2, (unsigned long)cpuid, "KVM_SET_CPUID2");
  struct kvm_sregs sregs;
  call(vcpu, KVM_GET_SREGS, (unsigned long)&sregs, "KVM_GET_SREGS");
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  call(vcpu, KVM_SET_SREGS, (unsigned long)&sregs, "KVM_SET_SREGS");
  struct kvm_regs regs;
  memset(&regs, 0, sizeof(regs));
  regs.rip = ORIGIN;
  regs.rsp = 0xf00;
  regs.rflags = 2;
  call(vcpu, KVM_SET_REGS, (unsigned long)&regs, "KVM_SET_REGS");
  if (sync) run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;

  uint64_t start = 0;
  uint64_t written = 0;
  for (;;) {
    call(vcpu, KVM_RUN, 0, "KVM_RUN");
    switch (run->exit_reason) {
      case KVM_EXIT_IO: {
        uint8_t *data = (uint8_t *)run + run->io.data_offset;
        if (run->io.direction == KVM_EXIT_IO_IN) {
          *data = 0x5a;
        } else if (run->io.port == mark) {
          if (start != 0) {
            printf("%llu\n", (unsigned long long)(nanos() - start));
            fflush(stdout);
          }
          if (getchar() == EOF) return 0;
          start = nanos();
        } else {
          written += *data;
        }
        break;
      }
      case KVM_EXIT_MMIO:
        if (run->mmio.is_write) {
          written += run->mmio.data[0];
        } else {
          run->mmio.data[0] = 0x5a;
        }
        break;
      case KVM_EXIT_HLT:
        break;
      default:
        fprintf(stderr, "kvm_loop: exit reason %u\n", run->exit_reason);
        return (int)(written & 1) | 2;
    }
  }
}
