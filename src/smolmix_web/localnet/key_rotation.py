"""When a node makes, swaps and drops its Sphinx keys (spec nodes.md 7).

====================================  ===============================================================
start of the last epoch of rotation R  generate the key of R+1 and pre-announce it
start of the first epoch of R+1        swap: the new key becomes primary, the old one secondary
start of the second epoch of R+1       drop the old key
====================================  ===============================================================
"""

from __future__ import annotations

from smolmix_web.localnet.sphinx_keys import SphinxKeyring
from smolmix_web.nym.rotation import KeyRotationInfo


class RotationDriver:
    """Keeps a keyring in step with the epochs of the network.

    ``start`` once with the directory's first answer, then ``advance`` at least once per epoch. All times are
    unix seconds.
    """

    def __init__(self, keyring: SphinxKeyring) -> None:
        self._keyring = keyring

    def start(self, info: KeyRotationInfo, unix_time: float) -> None:
        """Begin with a key of the running rotation."""
        self._keyring.relabel(info.rotation_at(unix_time))
        self.advance(info, unix_time)

    def advance(self, info: KeyRotationInfo, unix_time: float) -> bool:
        """Do what is due. Whether the announced keys changed."""
        keyring = self._keyring
        epoch = info.epoch_at(unix_time)
        rotation = info.rotation_of(epoch)
        before = (keyring.primary, keyring.pre_announced())
        if rotation == keyring.primary.rotation_id + 1:
            keyring.prepare_next()
            keyring.swap()
        elif rotation != keyring.primary.rotation_id:
            keyring.jump(rotation)
        first_epoch = info.initial_epoch_id + rotation * info.validity_epochs
        if epoch > first_epoch:
            keyring.drop_old()
        if epoch == first_epoch + info.validity_epochs - 1:
            keyring.prepare_next()
        return (keyring.primary, keyring.pre_announced()) != before
