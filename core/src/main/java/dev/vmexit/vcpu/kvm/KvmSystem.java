package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import java.lang.foreign.MemorySegment;

/**
 * The descriptor of {@code /dev/kvm}: what this host's KVM offers, and the door to its VMs. Belongs
 * to one thread at a time; a VM made by it lives on after it is closed.
 */
public final class KvmSystem implements AutoCloseable {
  /** Where the device is. */
  public static final String DEVICE = "/dev/kvm";

  private static final int CPUID_ENTRIES = 256;
  private static final int MSR_LIST_ENTRIES = 1024;

  private final MemorySegment errno = Libc.errnoState();
  private final int fd;
  private boolean closed;

  private KvmSystem(final int fd) {
    this.fd = fd;
  }

  /**
   * Opens the device.
   *
   * @throws KvmUnavailableException where there is none, this process may not use it, or its API is
   *     not version 12
   */
  public static KvmSystem open() {
    return open(DEVICE);
  }

  static KvmSystem open(final String path) {
    final int fd = Libc.open(path, Libc.O_RDWR | Libc.O_CLOEXEC);
    if (fd < 0) {
      throw new KvmUnavailableException(
          switch (-fd) {
            case Libc.ENOENT ->
                path
                    + " does not exist: load the module kvm_intel or kvm_amd, and see that the"
                    + " firmware allows virtualization";
            case Libc.EACCES ->
                path
                    + " may not be opened by this user: add it to the group kvm"
                    + " (usermod -aG kvm NAME) and log in again";
            default -> path + " cannot be opened: " + Libc.text(-fd);
          });
    }
    final KvmSystem system = new KvmSystem(fd);
    // Safe: a request without an argument; on another file it fails with ENOTTY.
    final int version = Libc.ioctl(system.errno, fd, KvmApi.GET_API_VERSION, 0);
    if (version != KvmApi.VERSION) {
      system.close();
      throw new KvmUnavailableException(
          version < 0
              ? path + " is no KVM device: KVM_GET_API_VERSION: " + Libc.text(-version)
              : path + " has KVM API version " + version + ", wanted: " + KvmApi.VERSION);
    }
    return system;
  }

  /**
   * What KVM says of a capability: 0 where it lacks, else a positive number whose meaning is the
   * capability's own.
   */
  public int checkExtension(final int capability) {
    // Safe: the argument is a number.
    return Math.max(0, Libc.ioctl(errno, fd, KvmApi.CHECK_EXTENSION, capability));
  }

  /** Bytes that a vCPU's descriptor maps: {@code kvm_run} and what follows it. */
  int vcpuMapSize() {
    // Safe: a request without an argument.
    return check("KVM_GET_VCPU_MMAP_SIZE", Libc.ioctl(errno, fd, KvmApi.GET_VCPU_MMAP_SIZE, 0));
  }

  /** The CPUID leaves that KVM can give to a guest on this host. */
  KvmCpuid supportedCpuid() {
    final long struct = HostMemory.allocate(KvmCpuid.bytes(CPUID_ENTRIES));
    try {
      HostMemory.putInt(struct, CPUID_ENTRIES);
      // Safe: the struct has room for as many entries as it says, and outlives the call.
      check("KVM_GET_SUPPORTED_CPUID", Libc.ioctl(errno, fd, KvmApi.GET_SUPPORTED_CPUID, struct));
      return KvmCpuid.read(struct);
    } finally {
      HostMemory.free(struct);
    }
  }

  /** The MSRs that KVM saves and restores for a guest. */
  public int[] msrIndices() {
    final long struct = HostMemory.allocate(4 + 4L * MSR_LIST_ENTRIES);
    try {
      HostMemory.putInt(struct, MSR_LIST_ENTRIES);
      // Safe: the struct has room for as many entries as it says, and outlives the call.
      check("KVM_GET_MSR_INDEX_LIST", Libc.ioctl(errno, fd, KvmApi.GET_MSR_INDEX_LIST, struct));
      final int[] indices = new int[HostMemory.getInt(struct)];
      for (int i = 0; i < indices.length; i++) {
        indices[i] = HostMemory.getInt(struct + 4 + 4L * i);
      }
      return indices;
    } finally {
      HostMemory.free(struct);
    }
  }

  /**
   * Makes a VM with no memory and no vCPU.
   *
   * @throws KvmUnavailableException where KVM refuses
   */
  public KvmVm createVm() {
    // Asked first: from the moment that the VM's descriptor is there, nothing may fail.
    final int runSize = vcpuMapSize();
    final KvmCpuid cpuid = supportedCpuid();
    int vm;
    do {
      // Safe: the argument is a number, the machine type.
      vm = Libc.ioctl(errno, fd, KvmApi.CREATE_VM, 0);
    } while (vm == -Libc.EINTR);
    if (vm < 0) {
      throw new KvmUnavailableException(
          "KVM makes no VM: "
              + Libc.text(-vm)
              + (vm == -Libc.EBUSY ? "; another hypervisor holds the processor" : ""));
    }
    return new KvmVm(vm, runSize, cpuid);
  }

  private static int check(final String call, final int result) {
    if (result < 0) {
      throw Libc.failure(call, -result);
    }
    return result;
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      Libc.close(fd);
    }
  }
}
