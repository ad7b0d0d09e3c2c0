"""The image store: archives and registries in, one squashfs per layer out, archives again.

From the outside in:

* :mod:`.store` is what the daemon uses: images, names, leases.  :mod:`.index` is
  what it remembers, :mod:`.layer_store` the layers' files, :mod:`.import_session`
  one import.
* :mod:`.archive` reads the outer archive in one pass, :mod:`.manifest` and
  :mod:`.config` understand its documents.
* :mod:`.layer` converts a layer: :mod:`.compression` and :mod:`.tar` take it apart,
  :mod:`.tree` applies its entries, :mod:`.squashfs` writes the image.
* :mod:`.assembly` decides which layers are mounted, :mod:`.merge` makes one of
  several; :mod:`.squashfs_reader` reads the trees for that.
* :mod:`.recipe` keeps what gives a layer's tar back, :mod:`.save` makes archives of
  images, :mod:`.derivation` and :mod:`.changes` the configuration of a committed one.
* :mod:`.registry` pulls from registries, whose documents :mod:`.pulled` understands.
* :mod:`.skeleton` and :mod:`.completion` look after directories that a layer has
  no entry for.

Archives are hostile: nothing of them is unpacked into the host's file tree, run
or passed to another program, and :mod:`.limits` bounds what they cost.
"""
