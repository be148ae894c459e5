# shellcheck shell=bash
# v1 (10.42.7.51): a machine with its own kernel on the lab's network, for what containers cannot show.
# Started by `vagrant/demo vm` only. Uses KVM where it works, else emulation. Expects lib.sh and
# images.sh.
# shellcheck disable=SC2154

vm_pid=$cache/vm.pid

# vm_disk IMAGE: extracts disk, kernel and initramfs from the image.
vm_disk() {
  local tree container
  tree=$(mktemp -d "$cache/vm.XXXXXX")
  container=$(docker create "$1")
  docker export "$container" | as_root tar -x -C "$tree"
  docker rm "$container"
  # It would make systemd take the machine for a container.
  as_root rm -f "$tree/.dockerenv"
  # Docker manages these files itself and does not export them.
  echo v1 | as_root tee "$tree/etc/hostname"
  printf '127.0.0.1 localhost\n10.42.7.51 v1\n' | as_root tee "$tree/etc/hosts"
  as_root ln -sf ../run/systemd/resolve/stub-resolv.conf "$tree/etc/resolv.conf"
  as_root cp -L "$tree"/boot/vmlinuz-* "$cache/vm.kernel"
  as_root cp -L "$tree"/boot/initrd.img-* "$cache/vm.initrd"
  as_root rm -f "$cache/vm.disk"
  truncate -s 8G "$cache/vm.disk"
  as_root mke2fs -q -F -t ext4 -d "$tree" "$cache/vm.disk"
  as_root chmod 644 "$cache/vm.disk" "$cache/vm.kernel" "$cache/vm.initrd"
  as_root rm -rf "$tree"
}

# vm_lives: whether the recorded process still is the emulator.
vm_lives() { [ "$(as_root cat "/proc/$(as_root cat "$vm_pid" 2> /dev/null || echo none)/comm" 2> /dev/null)" = qemu-system-x86 ]; }

vm_down() {
  if [ -e "$vm_pid" ]; then
    ! vm_lives || as_root kill "$(as_root cat "$vm_pid")"
    as_root rm -f "$vm_pid"
  fi
  [ ! -e /sys/class/net/toots-vm ] || as_root ip link del toots-vm
}

# vm_start: writes are discarded when the machine stops. KVM may exist and still not run a guest (inside
# another virtual machine); only a try shows it.
vm_start() {
  local accelerator seconds
  while read -r accelerator seconds; do
    [ "$accelerator" = tcg ] || [ -e /dev/kvm ] || continue
    vm_boot "$accelerator"
    ! vm_answers "$seconds" || return 0
    echo "no answer with $accelerator; last lines of the console:"
    tail -n 20 "$cache/vm.console"
    vm_down
  done <<< $'kvm 60\ntcg 300'
  return 1
}

# The emulator must not inherit the lock of vagrant/demo.
vm_boot() {
  local bridge
  bridge=br-$(docker network ls -q --filter name=vagrant_network_10.42.7.0/24)
  as_root ip tuntap add dev toots-vm mode tap
  as_root ip link set toots-vm master "$bridge" up
  as_root qemu-system-x86_64 -machine q35 -accel "$1" -cpu max -smp 2 -m 2048 -display none -serial "file:$cache/vm.console" -snapshot \
    -kernel "$cache/vm.kernel" -initrd "$cache/vm.initrd" -append "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet" \
    -drive "file=$cache/vm.disk,format=raw,if=virtio" -device virtio-rng-pci \
    -netdev tap,id=net,ifname=toots-vm,script=no,downscript=no -device virtio-net-pci,netdev=net \
    -daemonize -pidfile "$vm_pid" < /dev/null 9>&- || true
}

# vm_answers SECONDS: waits until SSH answers; fails at once when the emulator ends.
vm_answers() {
  local until=$((SECONDS + $1))
  # shellcheck disable=SC2016 # the inner shell's
  until timeout 2 bash -c 'exec 3<>/dev/tcp/10.42.7.51/22 && read -r -t 2 line <&3 && [[ $line == SSH-* ]]' 2> /dev/null; do
    if [ $SECONDS -ge $until ] || ! vm_lives; then return 1; fi
    sleep 1
  done
}

vm() {
  need qemu-system-x86_64:qemu-system-x86 mke2fs:e2fsprogs ip:iproute2
  build vm "$here/images/vm" ''
  local image
  image=$(docker image inspect -f '{{.Id}}' toots-lab/vm)
  if [ "$(cat "$cache/vm.image" 2> /dev/null)" != "$image" ]; then
    step "disk of v1" vm_disk toots-lab/vm
    echo "$image" > "$cache/vm.image"
  fi
  vm_down
  step "machine v1" vm_start
}
