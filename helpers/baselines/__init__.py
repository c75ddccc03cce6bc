"""The rival methods that the papers compare with, one short file each."""
